"""Hostile .onnx files, given to the program as a user would: conversion in its own process, verification, two steps."""

LIMITED = False  # the programs that are started have limits of their own
