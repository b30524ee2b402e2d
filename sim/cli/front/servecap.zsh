#compdef servecap
# servecap completion for zsh. In ~/.zshrc, after compinit:  eval "$(servecap completion zsh)"
_servecap() {
    local -a program=("${words[1]/#\~/$HOME}") whole open whole_told open_told
    local line word
    if [[ ${program[1]:t} == python* ]]; then
        if [[ $words[2] != -m || $words[3] != sim || $CURRENT -lt 4 ]]; then
            (( $+functions[_python] )) || autoload -Uz _python
            _python "$@"
            return
        fi
        program+=(-m sim)
    fi
    for line in "${(@f)$("${program[@]}" __complete zsh "$LBUFFER" 2>/dev/null)}"; do
        word=${line%%$'\t'*}
        [[ -z $word ]] && continue
        if [[ $word == *[=./] ]]; then
            open+=("$word") open_told+=("$word  ${line#*$'\t'}")
        else
            whole+=("$word") whole_told+=("$word  ${line#*$'\t'}")
        fi
    done
    (( $#whole )) && compadd -l -d whole_told -a whole
    (( $#open )) && compadd -S '' -l -d open_told -a open
    (( $#whole + $#open ))
}
compdef _servecap servecap
compdef _servecap python python3
