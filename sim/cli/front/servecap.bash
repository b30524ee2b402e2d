# servecap completion for bash. In ~/.bashrc:  eval "$(servecap completion bash)"
_servecap() {
    local program=("${COMP_WORDS[0]/#\~/$HOME}")
    if [[ ${program[0]##*/} == python* ]]; then
        if [[ ${COMP_WORDS[1]} != -m || ${COMP_WORDS[2]} != sim || $COMP_CWORD -lt 3 ]]; then
            if declare -F _python >/dev/null; then _python "$@"; fi
            return
        fi
        program+=(-m sim)
    fi
    mapfile -t COMPREPLY < <("${program[@]}" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then compopt -o nospace; fi
}
complete -F _servecap servecap
complete -o bashdefault -o default -F _servecap python python3
