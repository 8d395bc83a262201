"""Completion in bash 4 and newer: one table of commands, and a walk along the line."""

from __future__ import annotations

from cacher.cli.completion.command_tree import ENGINES, Command, shell_quoted

_BASH = """\
# bash completion for cacher, printed by `cacher completion bash`. For bash 4 and newer.

# What there is at $path, into its caller's variables.
_cacher_table() {
    commands='' flags='' valued='' places=''
    case $path in
@TABLE@
    esac
}

_cacher() {
    local IFS=$' \\t\\n' rest=${COMP_LINE:0:COMP_POINT} left word last=-1 i
    local -a words=()
    # Bash splits words at = and :, too; what has no space before it belongs to the word before.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        left=${rest#"${rest%%[![:space:]]*}"}
        word=${left:0:${#COMP_WORDS[i]}}
        if ((i == 0)) || [[ $left != "$rest" ]]; then
            words[++last]=$word
        else
            words[last]+=$word
        fi
        rest=${left:${#word}}
    done

    local path='' commands flags valued places option='' ended='' count=0
    _cacher_table
    for ((i = 1; i < last; i++)); do
        word=${words[i]}
        if [[ $option ]]; then
            option=''
        elif [[ ! $ended && $word == -- ]]; then
            ended=1
        elif [[ ! $ended && $word == -?* ]]; then
            [[ " $valued" != *" $word="* ]] || option=$word
        elif [[ " $commands " == *" $word "* ]]; then
            path+=${path:+ }$word
            _cacher_table
        else
            ((++count))
        fi
    done

    local current=${words[last]} before='' kind=@nothing
    if [[ ! $option && ! $ended && $current == --*=* ]]; then
        option=${current%%=*}
        before=$option=
        current=${current#*=}
    fi
    if [[ $option ]]; then
        if [[ " $valued" == *" $option="* ]]; then
            kind=" $valued"
            kind=${kind#*" $option="}
            kind=${kind%% *}
        fi
    elif [[ ! $ended && $current == -* ]]; then
        kind=$flags
    elif [[ $commands ]]; then
        ((count)) || kind=$commands
    else
        for word in $places; do
            if ((count == 0)) || [[ $word == *... ]]; then
                kind=${word%...}
                break
            fi
            ((--count))
        done
    fi

    COMPREPLY=()
    case $kind in
        @file) return ;; # readline's own completion, see -o default
        @directory) compopt -o dirnames +o default 2>/dev/null && return ;;
        @program) kind='@ENGINES@' ;;
    esac
    compopt +o default 2>/dev/null
    [[ $kind != @* ]] || return 0
    # Readline replaces only what comes after the last of the signs that it splits at.
    [[ $COMP_WORDBREAKS != *=* ]] || before=''
    COMPREPLY=($(compgen -P "$before" -W "${kind//,/ }" -- "$current"))
}

complete -o default -F _cacher cacher
"""


def script(root: Command) -> str:
    """Return the script for bash."""
    table = []
    for command in root.walk():
        options = command.options
        valued = [f"{flag}={o.value.kind}" for o in options if o.value for flag in o.flags]
        variables = {
            "commands": " ".join(below.name for below in command.commands),
            "flags": " ".join(flag for option in options for flag in option.flags),
            "valued": " ".join(valued),
            "places": command.kinds(),
        }
        table.append(f"        {shell_quoted(command.path)})")
        table += [f"            {name}='{words}'" for name, words in variables.items() if words]
        table.append("            ;;")
    return _BASH.replace("@TABLE@", "\n".join(table)).replace("@ENGINES@", ENGINES)
