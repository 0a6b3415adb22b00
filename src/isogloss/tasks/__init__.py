"""One file, one experiment: a corpus and an encoder in, measurements out."""

from isogloss.tasks.check import check_task
from isogloss.tasks.retrieval_result import PairResult, RetrievalResult, measurement_to_dict
from isogloss.tasks.speech_retrieval import SpeechRetrieval
from isogloss.tasks.transcription import Transcription

__all__ = [
    "PairResult",
    "RetrievalResult",
    "SpeechRetrieval",
    "Transcription",
    "check_task",
    "measurement_to_dict",
]
