complete -c @NAME@ -a '(set -l words (commandline -opc) (commandline -ct); env REWIND_COMPLETE=1 $words 2>/dev/null)'
