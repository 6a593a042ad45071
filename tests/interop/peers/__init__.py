"""The five packages, each behind :class:`tests.interop.package.Package`."""
