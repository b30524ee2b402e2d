# servecap completion for fish. In ~/.config/fish/config.fish:  servecap completion fish | source
function __servecap_is_sim
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2] $words[3]" = "-m sim"
end
function __servecap_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    if __servecap_is_sim
        set program $words[1..3]
    end
    $program __complete fish (commandline -cp | string collect) 2>/dev/null
end
complete -c servecap -f -a '(__servecap_complete)'
for python in python python3
    complete -c $python -n __servecap_is_sim -f -a '(__servecap_complete)'
end
