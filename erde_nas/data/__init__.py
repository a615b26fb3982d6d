"""The name of a data set or a folder of images in, three disjoint splits and their augmented views out."""
