"""CT series in DICOM: headers, grouping, geometry and pixels, up to a `Volume`."""
