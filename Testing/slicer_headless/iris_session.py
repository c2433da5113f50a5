"""What a person does and sees in IrisICL's panel."""

NAME, VOLUME, USE = range(3)


def add_reference(panel, volume, segmentation):
    """Choose both and click "Add reference"."""
    panel.ui.referenceVolumeSelector.setCurrentNode(volume)
    panel.ui.referenceSegmentationSelector.setCurrentNode(segmentation)
    panel.ui.addReferenceButton.click()


def references(panel):
    """Each reference's first line and use, and its structures as (checked, name, volume, use)."""
    import qt

    found = []
    for n in range(panel.ui.referencesTree.topLevelItemCount):
        item = panel.ui.referencesTree.topLevelItem(n)
        children = [item.child(m) for m in range(item.childCount())]
        rows = [(c.checkState(NAME) == qt.Qt.Checked, c.text(NAME), c.text(VOLUME), c.text(USE)) for c in children]
        found.append((item.text(NAME).split("\n")[0], item.text(USE), rows))
    return found


def check(panel, reference, structure, checked=True):
    """Tick or untick a structure of a reference; both are counted from 0."""
    import qt

    item = panel.ui.referencesTree.topLevelItem(reference).child(structure)
    item.setCheckState(NAME, qt.Qt.Checked if checked else qt.Qt.Unchecked)
