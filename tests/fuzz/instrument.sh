#!/bin/sh
# Cargo calls it in place of rustc for the workspace's crates. It has those that are fuzzed report
# their coverage; dependencies, libtorch's bindings above all, stay as they were built.
case " $* " in
*" --crate-name host "* | *" --crate-name kernels "* | *" --crate-name plugin_api "* | *" --crate-name pt2 "* | *" --crate-name fuzz "*)
    exec "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares \
        -Coverflow-checks=on -Cdebug-assertions=on --cfg fuzzing
    ;;
*) exec "$@" ;;
esac
