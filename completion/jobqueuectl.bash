# Completion of jobqueuectl in bash, with the names of jobs and runs.  An @ and a : end a word there, and none of ours.
_jobqueuectl() {
    local line=${COMP_LINE:0:COMP_POINT} words current whole head='' breaks='' type value
    read -ra words <<<"$line"
    current=$((${#words[@]} - 1))
    [[ $line == *[[:space:]] ]] && current=${#words[@]}
    whole=${words[current]-}
    breaks=${COMP_WORDBREAKS//[^@:]/}
    [[ -n $breaks && $whole == *[$breaks]* ]] && head=${whole%"${whole##*[$breaks]}"}
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$head"}") ;;
        esac
    done < <(COMP_WORDS=$line COMP_CWORD=$current _JOBQUEUECTL_COMPLETE=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F _jobqueuectl jobqueuectl
