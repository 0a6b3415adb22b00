"""One file, one experiment: a corpus and an encoder in, measurements out."""

from isogloss.speech.long_transcription import LongTranscription, transcribe_recordings
from isogloss.tasks.check import check_task
from isogloss.tasks.controlled import ControlledRetrieval
from isogloss.tasks.intent import IntentClassification
from isogloss.tasks.probe import Probe
from isogloss.tasks.retrieval_result import PairResult, RetrievalResult, measurement_to_dict
from isogloss.tasks.speech_retrieval import SpeechRetrieval
from isogloss.tasks.transcribe_files import find_recordings, transcribe_files
from isogloss.tasks.transcription import Transcription
from isogloss.tasks.within import WithinGroupRetrieval
from isogloss.tasks.word_choice import Triple, WordChoice

__all__ = [
    "ControlledRetrieval",
    "IntentClassification",
    "LongTranscription",
    "PairResult",
    "Probe",
    "RetrievalResult",
    "SpeechRetrieval",
    "Transcription",
    "Triple",
    "WithinGroupRetrieval",
    "WordChoice",
    "check_task",
    "find_recordings",
    "measurement_to_dict",
    "transcribe_files",
    "transcribe_recordings",
]
