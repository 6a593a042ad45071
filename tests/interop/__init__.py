"""Networks to and from the packages of the field themselves; run by `make interop`, in an environment of their own."""
