#!/bin/bash
@DIRECTIVES@

# Modules and the environment that the program needs:
#   module load cuda
#   source ~/environment/bin/activate

# What stands before the program's own words, such as a container with the folders that it needs:
#   inside=(apptainer exec --nv --bind /shared image.sif)
inside=()

cd @FOLDER@ || exit 2
@VARIABLES@

# The signal before the time limit is passed on: the program writes checkpoints and ends with 4.
trap 'told=1; kill -TERM "$program" 2>/dev/null' TERM
"${inside[@]}" @COMMAND@ &
program=$!
until told=; wait "$program"; code=$?; [ -z "$told" ]; do :; done

# This task alone starts again: where it was stopped in order, and up to three times where it was killed.
task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
if [ "$code" -gt 128 ]; then
    killed=@SUBMISSION@/killed-$SLURM_ARRAY_TASK_ID
    echo "$code" >>"$killed"
    [ "$(wc -l <"$killed")" -gt 3 ] || code=4
fi
# After `scancel` it does not run any more.
if [ "$code" = 4 ] && [ "$(squeue --noheader --jobs="$task" --format=%T)" = RUNNING ]; then
    scontrol requeue "$task" && exec sleep 60
fi
exit "$code"
