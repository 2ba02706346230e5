"""Completion in real shells."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import run_program

COMPLETIONS = [
    ("tfinvert sal", "saliency"),
    ("tfinvert saliency --sam", "--samples="),
    ("tfinvert --experiment=saliency --noi", "--noise="),
    ("tfinvert --over", "--overwrite"),
    ("tfinvert --optimizer=l", "lbfgs"),
    ("tfinvert --flagfile=q2-", "q2-mean"),
    ("tfinvert saliency --methods=gradient,smo", "gradient,smoothgrad"),
    ("tfinvert de", "decode demo"),  # several words, which the test in zsh leaves out
    ("tfinvert --weights=", "auto pretrained random"),
]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_experiments_flags_and_values(tmp_path):
    script = run_program("completion", "bash").stdout
    assert run_program("completion", "zsh").stdout.endswith(script)
    (tmp_path / "ordinary.txt").touch()  # is no value of --weights
    for line, expected in COMPLETIONS:
        words = f"COMP_WORDS=({line.replace('=', ' = ')})"  # as bash separates them
        ask = f'COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; {words}; _tfinvert; echo "${{COMPREPLY[*]}}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == (expected, "")


ZSH = r"""
zmodload zsh/zpty
zpty -b terminal zsh -f -i
zpty -w terminal "cd $1; source <(cat completion.zsh); echo REA''DY"
said() { local part; while zpty -r -t terminal part; do print -rn -- "$part"; done }
text=""
repeat 200; do sleep 0.05; text+="$(said)"; [[ $text == *READY* ]] && break; done
for line in "${@:2}"; do
  zpty -w -n terminal "$line"$'\t'
  sleep 0.5
  print -r -- "$(said)" | tr -d '\n'; echo
  zpty -w -n terminal $'\x03'; sleep 0.1; said > /dev/null
done
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_what_is_typed_into_its_terminal(tmp_path):
    (tmp_path / "completion.zsh").write_text(run_program("completion", "zsh").stdout)
    lines = [line for line, _ in COMPLETIONS[:-2]]
    done = subprocess.run(["zsh", "-fc", ZSH, "zsh", tmp_path, *lines], capture_output=True, text=True, check=False)
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\b]", "", line) for line in done.stdout.splitlines()]
    expected = [f"{re.sub(r'[^ =,]*$', '', line)}{word.rpartition(',')[2]}" for line, word in COMPLETIONS[:-2]]
    assert len(shown) == len(lines)
    for line, end in zip(shown, expected, strict=True):
        assert line.endswith(end)  # without a space behind it
