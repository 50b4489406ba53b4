#!/usr/bin/env bash
# A Slurm of this machine alone, in one folder, without systemd: several nodes of one processor each.
#
#   slurm.sh up DIR NODES      starts it, unless it is up
#   slurm.sh down DIR          stops it
#   slurm.sh kill DIR NODE     lets a node die: its daemon and all that it runs
#   slurm.sh revive DIR NODE   starts that node again
#
# Whoever uses it sets SLURM_CONF to DIR/slurm.conf. Partitions: `low`, the default, whose jobs are started again
# when `high` wants their node, and `short`, which takes no job of more than an hour.
set -euo pipefail

say() { echo "slurm.sh: $*" >&2; }

missing=()
for program in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
done
if ((${#missing[@]})); then
    say "not found: ${missing[*]}. Install Slurm and MUNGE (Debian and Ubuntu: apt install slurm-wlm munge)"
    exit 2
fi
PATH=$PATH:/usr/sbin

verb=${1:?up, down, kill or revive}
dir=$(realpath -m "${2:?a folder}")
export SLURM_CONF=$dir/slurm.conf
port=${SLURM_PORT:-26817}

# Whether the process of a file with its number is there. A zombie is gone.
is_up() {
    local pid
    [ -s "$1" ] && pid=$(cat "$1" 2>/dev/null) && [ -r "/proc/$pid/stat" ] && ! grep -q '^State:.Z' "/proc/$pid/status" &&
        grep -qE '^(munged|slurmctld|slurmd)' "/proc/$pid/comm"
}

configure() {
    local host=$1 nodes=$2
    cat <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# A job that is started again waits for so long.
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
EnforcePartLimits=ALL
ReturnToService=2
JobRequeue=1
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=10
MinJobAge=3600
END
    for ((node = 1; node <= nodes; node++)); do
        echo "NodeName=n$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + node)) CPUs=1 RealMemory=1000"
    done
    echo "PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP"
    echo "PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP"
    echo "PartitionName=short Nodes=ALL MaxTime=60 PriorityTier=1 State=UP"
}

up() {
    local nodes=$1
    mkdir -p "$dir"/{state,log,run,spool}
    chmod 755 "$dir" "$dir"/*
    if [ ! -f "$dir/munge.key" ]; then
        (umask 277 && head -c 1024 /dev/urandom >"$dir/munge.key")
    fi
    [ -f "$SLURM_CONF" ] || configure "$(hostname -s)" "$nodes" >"$SLURM_CONF"
    if ! is_up "$dir/run/munged.pid"; then
        munged --force --key-file="$dir/munge.key" --socket="$dir/run/munge.sock" --pid-file="$dir/run/munged.pid" \
            --log-file="$dir/log/munged.log" --seed-file="$dir/run/munge.seed"
    fi
    is_up "$dir/run/slurmctld.pid" || slurmctld -f "$SLURM_CONF"
    for ((node = 1; node <= nodes; node++)); do
        revive "n$node"
    done
    for _ in {1..150}; do
        [ "$(sinfo -h -p low -N -t idle,mix,alloc -o %N 2>/dev/null | wc -l)" = "$nodes" ] && return
        sleep 0.2
    done
    sinfo >&2 || true
    tail -n 20 "$dir"/log/*.log >&2
    say "the nodes do not come up"
    return 1
}

revive() {
    is_up "$dir/run/slurmd.$1.pid" || slurmd -f "$SLURM_CONF" -N "$1"
}

# Processes of a job on a node, and before them those that watch over them and would tell of their end.
processes_of() {
    local file pid parent own=()
    for file in /proc/[0-9]*/environ; do
        if tr '\0' '\n' 2>/dev/null <"$file" | grep -cxE "SLURMD_NODENAME=$1|SLURM_CONF=$SLURM_CONF" | grep -qx 2; then
            pid=${file//[^0-9]/}
            own+=("$pid")
            parent=$(ps -o ppid= -p "$pid" || true)
            [[ $(ps -o comm= -p $parent || true) == slurmstepd* ]] && echo "$parent"
        fi
    done
    printf '%s\n' "${own[@]}"
}

die() {
    kill -KILL "$(cat "$dir/run/slurmd.$1.pid")"
    processes_of "$1" | xargs -r kill -KILL 2>/dev/null || true
}

down() {
    local file pid
    scancel --user="$(id -un)" 2>/dev/null || true
    for file in "$dir"/run/slurmd.*.pid "$dir/run/slurmctld.pid" "$dir/run/munged.pid"; do
        is_up "$file" || continue
        pid=$(cat "$file")
        kill "$pid"
        for _ in {1..200}; do
            is_up "$file" || break
            sleep 0.1
        done
    done
}

case $verb in
up) up "${3:?the number of nodes}" ;;
down) down ;;
kill) die "${3:?a node}" ;;
revive) revive "${3:?a node}" ;;
*) say "$verb is none of up, down, kill, revive" && exit 2 ;;
esac
