# A job that costs its host next to nothing: it notes its start and its end, with what a shell has built in.
#
#     /bin/sh tick.sh LEDGER CODE [SECONDS [KEY]]
#
# In LEDGER/ledger, beside the lines of job.py; UPTIME is that of /proc/uptime, in seconds:
#
#     tick  JOB RUN ATTEMPT DUE PID PPID KEY INDEX UPTIME
#     tock  RUN ATTEMPT CODE UPTIME
#     again RUN ATTEMPT UPTIME

ledger=$1 run=$JOBQUEUE_RUN
end() {
    code=$?
    read -r now _ </proc/uptime
    echo "tock $run $JOBQUEUE_ATTEMPT $code $now" >>"$ledger/ledger"
    exit "$code"
}
trap end EXIT # also where the shell gives up, as it can't make a process
read -r now _ </proc/uptime
echo "tick $JOBQUEUE_JOB $run $JOBQUEUE_ATTEMPT $JOBQUEUE_DUE $$ $PPID ${4:--} ${JOBQUEUE_ARRAY_INDEX:--} $now" >>"$ledger/ledger"
case $run in */*) name=${run%%/*}+${run#*/} ;; *) name=$run ;; esac
set -C
true 2>/dev/null >"$ledger/runs/$name.$JOBQUEUE_ATTEMPT" || echo "again $run $JOBQUEUE_ATTEMPT $now" >>"$ledger/ledger"
[ "${3:-0}" = 0 ] || sleep "$3"
exit "$2"
