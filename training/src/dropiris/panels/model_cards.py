"""The list of models as cards, with search, filter, import, download and removal. Uses Qt."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import qt  # type: ignore[import-not-found]
import slicer
from slicer.i18n import tr as _

from dropiris.errors import DropIrisError
from dropiris.models.bundle import CARD
from dropiris.models.dropgen_checkpoint import ENDINGS
from dropiris.panels import model_facts
from dropiris.panels.colour_icon import colours_icon, picture_icon
from dropiris.panels.model_import import import_model, installation
from dropiris.panels.run import Run, Work

THUMBNAIL = 52
CARD_HEIGHT = THUMBNAIL + 8
# The list is as high as its cards, up to this many; then it scrolls.
CARDS_SHOWN = 3
# A selected card is framed, not filled: its text keeps its colour in light and dark themes.
_STYLE = """
QListWidget::item { border: 2px solid transparent; border-radius: 4px; }
QListWidget::item:selected { border-color: palette(highlight); background: palette(alternate-base); }
"""


class ModelCards:
    """The models section.

    Parameters
    ----------
    ui : namespace
        With the widgets of ``UI/Models.ui``.
    models : callable
        The catalogue (:class:`dropiris.panels.client.ModelList`), when it is needed.
    reader : callable
        Who reads a checkpoint (:class:`dropiris.panels.model_import.CheckpointReader`), when it is needed.
    method : {"dropgen", "iris"}
    chosen : callable
        Told the name of a model the user chose.
    begin : callable
        Starts a run and its ending sentence in the panel's run bar: ``begin(start, done)``.
    """

    def __init__(
        self,
        ui: Any,
        models: Callable[[], Any],
        reader: Callable[[], Any],
        method: str,
        chosen: Callable[[str], None],
        begin: Callable[[Callable[[], Run], Callable[[Run], str]], None],
    ) -> None:
        self.ui, self._models, self._reader, self._method = ui, models, reader, method
        self._chosen, self._begin = chosen, begin
        self.entries: list[Any] = []
        self.problem = ""
        self._shown: list[Any] = []
        self._name = ""
        # Questions to the user; replaced in tests, where nobody answers.
        self.ask_bundle: Callable[[], str] = self._ask_bundle
        self.ask_removal: Callable[[str], bool] = self._ask_removal
        self.show_folder: Callable[[str], None] = _show_folder
        ui.modelsList.styleSheet = _STYLE
        ui.modelSearchBox.connect("textChanged(QString)", self._on_filter)
        ui.modelFilterComboBox.connect("currentIndexChanged(int)", self._on_filter)
        ui.modelsList.connect("currentRowChanged(int)", self._on_row)
        # A click on the card that is marked already, as the first one is when the user chose none.
        ui.modelsList.connect("itemClicked(QListWidgetItem*)", self._on_click)
        ui.downloadModelButton.connect("clicked(bool)", self._on_download)
        self.menu = qt.QMenu(ui.modelManageButton)
        self.menu.toolTipsVisible = True
        self.importing = self._action(_("Import a model…"), self._on_import)
        self.importing.toolTip = _("Add a model from this computer; nothing is sent or downloaded")
        self.removing = self._action(_("Remove the chosen model…"), self._on_remove)
        self.opening = self._action(_("Open the models' folder"), self._on_folder)
        ui.modelManageButton.setMenu(self.menu)

    def entry(self, name: str) -> Any:
        """The chosen entry: the named one, else the first that can be used; None when there is none."""
        named = [entry for entry in self.entries if entry.name == name]
        return next(iter(named or [entry for entry in self.entries if model_facts.usable(entry)]), None)

    def reload(self) -> None:
        """Look again which models there are."""
        try:
            found = self._models().list()
            self.entries, self.problem = model_facts.listed(found, self._method), ""
        except DropIrisError as problem:
            self.entries, self.problem = [], str(problem)
        # Of all models, not of those a search shows: what stands below must not jump while one types.
        self.ui.modelsList.setFixedHeight(CARD_HEIGHT * min(max(len(self.entries), 1), CARDS_SHOWN) + 6)
        self._fill()

    def show(self, name: str) -> None:
        """Mark the chosen model and describe it."""
        entry = self.entry(name)
        if entry is None or entry.name != self._name:
            self._name = entry.name if entry is not None else ""
            self._mark()
        nothing = self.problem or _("There is no model yet; import one, or put one into Resources/Models.")
        text = model_facts.description(entry) if entry is not None else nothing
        self.ui.modelLabel.text = text
        self.ui.modelLabel.toolTip = model_facts.about(entry) if entry is not None else text
        self.ui.downloadModelButton.visible = entry is not None and entry.folder is None
        size = model_facts.megabytes(entry.size) if entry is not None else ""
        self.ui.downloadModelButton.text = _("Download {size}").format(size=size).strip()
        self.removing.enabled = entry is not None and entry.state == "installed"
        self.removing.toolTip = "" if self.removing.enabled else _("Only models you installed can be removed")

    def _action(self, text: str, slot: Callable[..., None]) -> Any:
        action = qt.QAction(text, self.menu)
        action.connect("triggered(bool)", slot)
        self.menu.addAction(action)
        return action

    # The list

    def _fill(self) -> None:
        state = model_facts.STATES[max(0, self.ui.modelFilterComboBox.currentIndex)]
        self._shown = model_facts.listed(self.entries, self._method, self.ui.modelSearchBox.text, state)
        cards = self.ui.modelsList
        blocked = cards.blockSignals(True)
        cards.clear()
        for n, entry in enumerate(self._shown):
            cards.addItem("")
            item, label = cards.item(n), qt.QLabel(_html(entry))
            label.margin = 3
            label.wordWrap = True
            item.setIcon(_picture(entry))
            item.setData(qt.Qt.AccessibleTextRole, ", ".join([_title(entry), *model_facts.facts(entry)]))
            item.setToolTip(model_facts.about(entry))
            item.setSizeHint(qt.QSize(0, CARD_HEIGHT))
            cards.setItemWidget(item, label)
        cards.blockSignals(blocked)
        self._mark()

    def _mark(self) -> None:
        names = [entry.name for entry in self._shown]
        cards = self.ui.modelsList
        blocked = cards.blockSignals(True)
        cards.setCurrentRow(names.index(self._name) if self._name in names else -1)
        cards.blockSignals(blocked)

    def _on_filter(self, *unused: Any) -> None:
        self._fill()

    def _on_row(self, row: int) -> None:
        if 0 <= row < len(self._shown):
            self._chosen(self._shown[row].name)

    def _on_click(self, *unused: Any) -> None:
        self._on_row(self.ui.modelsList.currentRow)

    # Import, download, remove, folder

    def _on_import(self, *unused: Any) -> None:
        path = self.ask_bundle()
        if path:
            self._install(import_model(path, self._models(), self._reader))

    def _on_download(self, *unused: Any) -> None:
        models, entry = self._models(), self.entry(self._name)
        if entry is not None:
            self._install(installation(_("Downloading the model"), lambda *how: models.download(entry, *how)))

    def _install(self, steps: Work) -> None:
        def done(run: Run) -> str:
            card = run.result().card
            self.reload()
            if card.method == self._method:  # features, or a model of the other module, cannot be chosen here
                self._chosen(card.name)
            return _("{title} {version} is installed.").format(title=card.title, version=card.version)

        self._begin(lambda: Run(steps), done)

    def _on_remove(self, *unused: Any) -> None:
        entry = self.entry(self._name)
        if entry is None or not self.ask_removal(entry.name):
            return
        try:
            self._models().remove(entry.name)
        except DropIrisError as problem:
            slicer.util.errorDisplay(str(problem))
        self.reload()
        self._chosen("")

    def _on_folder(self, *unused: Any) -> None:
        folder = Path(self._models().installed)
        folder.mkdir(parents=True, exist_ok=True)
        self.show_folder(str(folder))

    def _ask_bundle(self) -> str:
        checkpoints = " ".join(f"*{ending}" for ending in ENDINGS) if self._method == "dropgen" else ""
        kinds = _("Model ({files})").format(files=f"{CARD} *.zip {checkpoints}".strip())
        chosen = qt.QFileDialog.getOpenFileName(self.ui.modelsList, _("Import a model"), "", kinds)
        path = Path(str(chosen or ""))
        return str(path.parent if path.name == CARD else path) if chosen else ""

    def _ask_removal(self, name: str) -> bool:
        question = _("Delete the model {name} from this computer?").format(name=name)
        return bool(slicer.util.confirmYesNoDisplay(question))


def _show_folder(path: str) -> None:
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))


def _title(entry: Any) -> str:
    return str(entry.card.title or entry.name) if entry.card is not None else str(entry.name)


def _html(entry: Any) -> str:
    lines = "<br>".join(escape(line) for line in model_facts.facts(entry))
    return f"<b>{escape(_title(entry))}</b><br><small>{lines}</small>"


def _picture(entry: Any) -> Any:
    path = model_facts.thumbnail(entry)
    if path:
        return picture_icon(qt.QPixmap(path))
    colors = [structure.color for structure in entry.card.structures] if entry.card is not None else []
    return colours_icon(colors, THUMBNAIL)
