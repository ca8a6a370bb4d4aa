"""The page of each command, under the command's own name: what the command line asks for."""

from __future__ import annotations

from perfkit.report.comparing import compare_page as compare
from perfkit.report.comparing import compare_profiles_page as compare_profiles
from perfkit.report.diagnosis import diagnose_page as diagnose
from perfkit.report.doctoring import doctor_page as doctor
from perfkit.report.measuring import measure_page as measure
from perfkit.report.profiling import profile_page as profile
from perfkit.report.story import story_page as story
from perfkit.report.tuning import plan_page as plan
from perfkit.report.tuning import tune_page as tune

__all__ = [
    "compare",
    "compare_profiles",
    "diagnose",
    "doctor",
    "measure",
    "plan",
    "profile",
    "story",
    "tune",
]
