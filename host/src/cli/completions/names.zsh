functions[_@NAME@_commands_and_files]=$functions[_@NAME@]
_@NAME@() {
    local -a names
    names=("${(@f)$(REWIND_COMPLETE=1 ${(Q)words[1]} "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$names" ]] && compadd -a names
    _@NAME@_commands_and_files "$@"
}
if [ "$funcstack[1]" = "_@NAME@" ]; then
    _@NAME@ "$@"
else
    compdef _@NAME@ @NAME@
fi
