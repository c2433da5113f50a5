"""From references to task files, by the worker: each reference once."""

from dropiris.panels.background_job import BackgroundJob
from dropiris.panels.run import Step


def encode(client, encoded, plan, share):
    """Part of a run: task files of the references and the saved ones; a reference that is known is not encoded again.

    Parameters
    ----------
    client : dropiris.panels.client.SegmentationClient
    encoded : IrisICLLib.encoded_tasks.EncodedTasks
    plan : IrisICLLib.plan.RunPlan
    share : float
        Part of the whole run that is done afterwards, 0 to 1.
    """
    files, count = [], max(1, len(plan.references))
    yield from _read(plan)
    try:
        for n, reference in enumerate(plan.references):
            file = encoded.find(reference.key)
            if file is None:
                place = encoded.place()
                job = client.submit_encode_iris(
                    [reference.read()], plan.bundle.folder, place, plan.device, encoded.windows(place)
                )
                file = yield Step(job, share * n / count, share * (n + 1) / count)
                encoded.keep(reference.key, file)
            files.append(file)
    finally:
        encoded.tidy()
    return files + [task.path for task in plan.tasks]


def save_task(client, encoded, plan, path, together):
    """A whole run: one task file of all references and saved tasks.

    ``together`` encodes the references in one request; otherwise encodings that are known are averaged.
    """
    if together:
        yield from _read(plan)
        job = client.submit_encode_iris(plan.examples, plan.bundle.folder, path, plan.device)
        yield Step(job, 0.0, 1.0)
        return path
    from dropiris.inference.task_embedding import TaskEmbedding, average

    files = yield from encode(client, encoded, plan, 1.0)
    loaded = [TaskEmbedding.load(file) for file in files]
    mean = average(loaded, [max(1, len(task.sources)) for task in loaded])
    (mean if plan.structures is None else mean.subset(plan.structures)).save(path)
    return path


def remembered(encoded, bundle):
    """The task file of a model's memory of its training classes, as a tuple; empty where it has no memory."""
    from dropiris.inference.memory import read_memory

    key = ("memory", bundle.card.name, bundle.card.version, str(bundle.folder))
    file = encoded.find(key)
    if file is None:
        memory = read_memory(bundle)
        if memory is None:
            return ()
        file = memory.save(encoded.place())
        encoded.keep(key, file)
    return (file,)


def _read(plan):
    """Bring references onto their scans' grids, in a thread: 0.3 s for one of 256 x 256 x 256 voxels."""
    if plan.unread:
        yield Step(BackgroundJob(lambda progress, cancel: plan.examples, "Reading the references"), 0.0, 0.0)
