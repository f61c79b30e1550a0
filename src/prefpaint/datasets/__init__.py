"""Kedro datasets: whole files, image folders, model folders, workspaces, the rating store."""

from prefpaint.datasets.animation import AnimationDataset
from prefpaint.datasets.files import BytesDataset, FigureDataset, JSONDataset, TableDataset, TextDataset
from prefpaint.datasets.folders import FoldersDataset
from prefpaint.datasets.images import ImageFolderDataset
from prefpaint.datasets.models import DiffusersPipelineDataset, PretrainedDataset, ReleaseDataset
from prefpaint.datasets.store import RatingStoreDataset
from prefpaint.datasets.workspace import WorkspaceDataset

__all__ = [
    "AnimationDataset",
    "BytesDataset",
    "DiffusersPipelineDataset",
    "FigureDataset",
    "FoldersDataset",
    "ImageFolderDataset",
    "JSONDataset",
    "PretrainedDataset",
    "RatingStoreDataset",
    "ReleaseDataset",
    "TableDataset",
    "TextDataset",
    "WorkspaceDataset",
]
