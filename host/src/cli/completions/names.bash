_@FUNCTION@_or_names() {
    _@FUNCTION@ "$@"
    local names IFS=$'\n'
    names=$(REWIND_COMPLETE=1 "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
    if [[ -n $names ]]; then
        COMPREPLY=($(compgen -W "$names" -- "$2"))
    fi
}
complete -F _@FUNCTION@_or_names -o bashdefault -o default @NAME@
