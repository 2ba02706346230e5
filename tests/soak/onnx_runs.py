"""Hostile .onnx files, given to the program as a user would: conversion in its own process, verification, two steps."""

import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from tests.soak import hostile, onnx_files
from tfinvert.errors import InputError

LIMITED = False  # the programs that are started have limits of their own
