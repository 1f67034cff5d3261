"""Looking into media files without decoding them whole: layout, index, single pictures, changes."""
