"""The calibration as a document: its content, where it is kept, its text and its report."""
