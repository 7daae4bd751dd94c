"""From folders of predictions and the data set they are of, to tables, numbers and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.bone_mesh import bone_mesh
from SyntheXLib.evaluation.bootstrap import DRAWS
from SyntheXLib.evaluation.model_evaluation import ModelEvaluation
from SyntheXLib.evaluation.modes import check_mode
from SyntheXLib.evaluation.paired import PairedDifference, compare_models
from SyntheXLib.evaluation.report import write_report
from SyntheXLib.evaluation.results import Progress, compare
from SyntheXLib.evaluation.summary import Summary, summarize, terminal_table
from SyntheXLib.evaluation.tables import write_tables
from SyntheXLib.inference.outputs import versions, write_json
from SyntheXLib.inference.predictions import PredictionFolder, open_predictions

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset

METRICS = "metrics.json"
REPORT = "report.html"


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found and where it is written.

    Attributes
    ----------
    summary
        All numbers of the first model.
    folder, report
        The folder and ``report.html`` in it.
    text
        A short table for the terminal; its last line is the path of the report.
    summaries
        All models' numbers by name.
    comparisons
        Each model against each one before it.
    """

    summary: Summary
    folder: Path
    report: Path
    text: str
    summaries: dict[str, Summary]
    comparisons: list[PairedDifference]


def evaluate(
    predictions_folders: Path | str | Sequence[Path | str],
    dataset_folder: Path | str,
    out_folder: Path | str,
    *,
    threshold: float = metrics.CONFIDENCE_THRESHOLD,
    mode: str = "strict",
    draws: int = DRAWS,
    label_maps: Sequence[Path] = (),
    label_names: Path | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Evaluate the predictions of one or several models against the truth of their data set.

    Writes ``report.html``, ``metrics.json`` and the tables of `tables.write_tables` into `out_folder`. In ``metrics.json`` the numbers of
    the first model stand at the top, those of the others by name under ``others``.

    Parameters
    ----------
    predictions_folders
        One or several, written by `inference.predict.predict_dataset`; models are called by their folders.
    dataset_folder
        The data set that was predicted; it may have moved.
    out_folder
        Where the files go; those of an earlier evaluation are replaced.
    threshold
        Confidence above which a landmark is activated.
    mode
        ``strict``, ``paper-text`` or ``released-code``, see `modes`.
    draws
        Resamples of the bootstrap.
    label_maps, label_names
        Label maps of the data set's specimens for the report's picture of the views, see `bone_mesh.bone_mesh`.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    SyntheXError
        When predictions or data set cannot be read or do not belong together, there is no such mode, or the folder cannot be written.
    """
    from SyntheXLib.datasets.reader import XrayDataset

    chosen = [predictions_folders] if isinstance(predictions_folders, Path | str) else list(predictions_folders)
    if not chosen:
        raise SyntheXError("Expected at least one folder of predictions, found none.")
    folders = [open_predictions(folder) for folder in chosen]
    dataset = XrayDataset(Path(dataset_folder))
    for predictions in folders:
        _check_dataset(predictions, dataset)
    named = dict(zip(_names([one.folder for one in folders]), folders, strict=True))
    return evaluate_opened(
        named,
        dataset,
        out_folder,
        threshold=threshold,
        mode=mode,
        draws=draws,
        label_maps=label_maps,
        label_names=label_names,
        progress=progress,
    )


def evaluate_opened(
    folders: Mapping[str, PredictionFolder],
    dataset: "XrayDataset",
    out_folder: Path | str,
    *,
    threshold: float = metrics.CONFIDENCE_THRESHOLD,
    mode: str = "strict",
    draws: int = DRAWS,
    label_maps: Sequence[Path] = (),
    label_names: Path | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """See `evaluate`; `folders` are the models' predictions of this very data set by the models' names."""
    kind = check_mode(mode)
    if draws < 1:
        raise SyntheXError(f"draws must be at least 1, found {draws}.")
    out_folder = Path(out_folder)
    mesh = bone_mesh(dataset, label_maps, label_names)
    models: list[ModelEvaluation] = []
    for name, predictions in folders.items():
        results = compare(predictions, dataset, _later(progress, len(models), len(folders)), kind)
        models.append(ModelEvaluation(name, predictions, results, summarize(results, threshold, draws)))
    comparisons = [one for a, b in combinations(models, 2) for one in compare_models(a.results, b.results, (a.name, b.name), draws)]
    write_tables(out_folder, models)
    write_report(out_folder / REPORT, models, comparisons, dataset, mesh)
    first, *others = models
    write_json(
        out_folder / METRICS,
        {
            "model": first.name,
            **first.summary.to_dict(),
            "task": dataset.task.name,
            "dataset": {"path": str(dataset.folder.resolve()), "checksum": dataset.checksum()},
            "pixel_spacing_mm": dataset.pixel_spacing_mm,
            "predictions": _source(first.predictions),
            "others": {one.name: {**one.summary.to_dict(), "predictions": _source(one.predictions)} for one in others},
            "comparisons": [asdict(one) for one in comparisons],
            "versions": versions(),
        },
    )
    report = (out_folder / REPORT).resolve()
    summaries = {one.name: one.summary for one in models}
    tables = [f"{name}\n{terminal_table(one)}" if others else terminal_table(one) for name, one in summaries.items()]
    return EvaluationResult(first.summary, out_folder, report, "\n\n".join([*tables, f"Report: {report}"]), summaries, comparisons)


def _later(progress: Progress | None, before: int, models: int) -> Progress | None:
    """Progress of one model as that of all, where `before` of them are done."""
    if progress is None:
        return None
    told = progress
    return lambda done, count: told(before * count + done, models * count)


def _source(predictions: PredictionFolder) -> dict[str, object]:
    source = {key: predictions.description[key] for key in ("model", "dataset", "versions")}
    return {"path": str(predictions.folder.resolve()), **source}


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, with as many of those above as it takes to tell them apart; a folder named twice gets a number."""
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while depth < max(map(len, parts)) and len({p[-depth:] for p in parts}) < len(set(parts)):
        depth += 1
    names: list[str] = []
    for p in parts:
        name = "/".join(p[-depth:])
        again = sum(one == name or one.startswith(f"{name} (") for one in names)
        names.append(f"{name} ({again + 1})" if again else name)
    return names


def _check_dataset(predictions: PredictionFolder, dataset: "XrayDataset") -> None:
    wanted, found = predictions.description["dataset"], dataset.checksum()
    if wanted["checksum"] != found:
        raise SyntheXError(
            f"{predictions.folder} holds predictions for another data set: expected the one that was at {wanted['path']} "
            f"(checksum {wanted['checksum'][:12]}), found {dataset.folder} ({found[:12]})."
        )
