"""Completion of the command line in bash and zsh, made from the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from tfinvert.settings.fields import Settings, shape, spec
from tfinvert.system.errors import choice_error

SHELLS = ("bash", "zsh")


def script(shell: str, kinds: Mapping[str, type[Settings]], words: Iterable[str], flagfiles: Iterable[str]) -> str:
    """The completion script of a shell, to be loaded with `source <(tfinvert completion bash)`.

    It completes experiments, the flags of the experiment that the line names, the values of flags that have a few, and files.

    Args:
      shell: "bash" or "zsh".
      kinds: experiment -> its settings.
      words: other first words of a command line.
      flagfiles: names that --flagfile takes beside files.

    Raises:
      InputError: no such shell.
    """
    if shell not in SHELLS:
        raise choice_error("shell", shell, SHELLS)
    cases = "\n".join(f"    {name}) flags={_quoted(_flags(kind))} ;;" for name, kind in kinds.items())
    values = {name: choices for kind in kinds.values() for name, choices in _choices(kind).items()}
    value_cases = "\n".join(f"      {name}) values={_quoted(choices)} ;;" for name, choices in sorted(values.items()))
    text = BASH.format(
        experiments=" ".join(kinds),
        words=" ".join([*kinds, *words]),
        cases=cases,
        values=value_cases,
        flagfiles=" ".join(flagfiles),
    )
    return text if shell == "bash" else f"autoload -Uz +X compinit bashcompinit\ncompinit\nbashcompinit\n{text}"


def _flags(kind: type[Settings]) -> list[str]:
    """The flags as they are typed: a flag without a value ends with its name, others with an equals sign."""
    shown = [field for field in dataclasses.fields(kind) if spec(field).doc]
    return sorted(f"--{field.name}" + ("" if shape(kind, field.name)[0] is bool else "=") for field in shown)


def _choices(kind: type[Settings]) -> dict[str, tuple[str, ...]]:
    return {field.name: spec(field).choices for field in dataclasses.fields(kind) if spec(field).choices}


def _quoted(words: Iterable[str]) -> str:
    return '"' + " ".join(words) + '"'


# In bash, what comes back replaces the word from its last "=" on, in zsh the whole word. zsh has no compopt: there, no space
# follows a word, so that a value can follow "=".
BASH = """\
_tfinvert() {{
  local line word experiment=invert flags values="" name part last before
  line="${{COMP_LINE:0:$COMP_POINT}}"
  word="${{line##* }}"
  for part in "${{COMP_WORDS[@]}}"; do
    case " {experiments} " in *" ${{part#--experiment=}} "*) experiment="${{part#--experiment=}}" ;; esac
  done
  case "$experiment" in
{cases}
  esac
  if [[ "$word" == --*=* ]]; then
    name="${{word%%=*}}"
    name="${{name#--}}"
    before="${{word#*=}}"
    last="${{before##*,}}"
    before="${{before%"$last"}}"
    [[ -n "$ZSH_VERSION" ]] && before="--$name=$before"
    case "$name" in
      experiment) values="{experiments}" ;;
      flagfile) values="{flagfiles}" ;;
{values}
    esac
    COMPREPLY=($(compgen -P "$before" -W "$values" -- "$last"))
    [[ -n "$values" && "$name" != flagfile ]] || COMPREPLY+=($(compgen -P "$before" -f -- "$last"))
  elif [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "$flags --experiment= --flagfile= --help" -- "$word"))
    [[ "${{COMPREPLY[*]}}" == *= ]] && compopt -o nospace 2> /dev/null
  else
    COMPREPLY=($(compgen -W "{words}" -- "$word") $(compgen -f -- "$word"))
  fi
}}
if [[ -n "$ZSH_VERSION" ]]; then
  complete -o nospace -F _tfinvert tfinvert
else
  complete -F _tfinvert tfinvert
fi
"""
