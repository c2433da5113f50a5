# Slicer writes the extension's config here; nothing of this extension depends on it.
