# shellcheck shell=bash
# Sourced by frontier.sbatch: what Frontier's nodes need, each setting with its reason and source.
#
# Sources: [guide] Frontier User Guide, https://docs.olcf.ornl.gov/systems/frontier_user_guide.html;
#          [pytorch] PyTorch on Frontier, https://docs.olcf.ornl.gov/software/analytics/pytorch_frontier.html.
# Left out on purpose: NCCL_ALGO, NCCL_P2P_LEVEL and the like, which override RCCL's own tuner; ROCR_VISIBLE_DEVICES and
# HIP_VISIBLE_DEVICES, because every rank sees all devices and takes the one with its local index.

# --- software: versions move with the system; see `module avail rocm` and the guide, and name others in the environment ---
ROCM_MODULE=${ROCM_MODULE:-rocm/7.1.1} # that of the installed torch: torch.version.hip says which
FRONTIER_MODULES=${FRONTIER_MODULES:-PrgEnv-gnu cpe miniforge3 $ROCM_MODULE rccl-net-plugin craype-accel-amd-gfx90a}

load_modules() {
  local module
  for module in $FRONTIER_MODULES; do
    # `module` gives no status of its own that could be relied on: ask what is loaded.
    module load "$module" || true
    module -t list 2>&1 | grep -q "^${module%%/*}\(/\|$\)" \
      || fail "module $module is not loaded; see: module avail ${module%%/*}; then: FRONTIER_MODULES='...' sbatch ..."
  done
}

# rccl-net-plugin is the path from RCCL to Slingshot; without it RCCL falls back to TCP, many times slower [pytorch].
# Whether it was found is in the output of a job with NCCL_DEBUG=INFO.
set +u # the modules' own scripts use variables that may be unset
load_modules
set -u
# Libraries of the loaded cpe are found in Cray's own path, the default one is of the system's version [guide].
export LD_LIBRARY_PATH=${CRAY_LD_LIBRARY_PATH:-}:${LD_LIBRARY_PATH:-}

# --- network ---
# The batch script runs on the first node; by this address the others reach rank 0 there [pytorch].
master_address=$(hostname -i)
# Sockets (start-up of RCCL, and its data if the plugin is missing) go over the four Slingshot cards [pytorch]. If the
# start hangs, try hsn0 alone.
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}
export GLOO_SOCKET_IFNAME=hsn0 # gloo, which the host's collectives use, takes one interface [pytorch]
# RCCL over Slingshot's libfabric, as the guide gives it [pytorch]:
export NCCL_CROSS_NIC=1                   # rings may change cards between nodes: all four are used
export NCCL_NET_GDR_LEVEL=PHB             # cards read GPU memory directly where both hang at one CPU: everywhere here
export FI_MR_CACHE_MONITOR=kdreg2         # memory registrations are cached safely, by the kernel
export FI_CXI_DISABLE_HOST_REGISTER=1     # the provider's registering of host memory with the GPU can deadlock with RCCL
export FI_CXI_DEFAULT_CQ_SIZE=131072      # completion queues that many ranks do not overrun
export FI_CXI_DEFAULT_TX_SIZE=2048        # the same for the queue of sends
export FI_CXI_RX_MATCH_MODE=hybrid        # matching in hardware goes on in software when its resources are used up
export FI_CXI_RDZV_PROTO=alt_read         # rendezvous protocol for large messages of RCCL; needs, in srun_options,
srun_options+=(--network=disable_rdzv_get) # the network's own rendezvous reads off

# --- files ---
# MIOpen compiles kernels into a database: on Lustre, many ranks get I/O errors there; a node's own disk has none [pytorch].
# slurm_task.sh makes the folder on every node.
export WEATHER_NODE_CACHE=/tmp/${USER:-$(id -un)}-$SLURM_JOB_ID
export MIOPEN_USER_DB_PATH=$WEATHER_NODE_CACHE
export MIOPEN_CUSTOM_CACHE_DIR=$WEATHER_NODE_CACHE
# HDF5 locks files that it opens, which Lustre may refuse; the archive is only read, and so needs no lock.
export HDF5_USE_FILE_LOCKING=FALSE

# --- cores and devices ---
tasks_per_node=8                      # one rank for each GCD, which is a device of its own with 64 GB [guide]
cpus_per_task=7                       # 64 cores, one of each 8 kept for the system: 56 for 8 ranks [guide]
export OMP_NUM_THREADS=$cpus_per_task # torch would start one thread for each core that it sees
# Rank i takes device i and belongs on the cores of its L3 region. Those are not in the devices' order [guide]:
#   device   0      1      2      3      4    5     6      7
#   cores    49-55  57-63  17-23  25-31  1-7  9-15  33-39  41-47     (48, 56, 16, 24, 0, 8, 32, 40 are the system's)
# Without it, all ranks of a node can land on few cores.
cores=0xfe000000000000,0xfe00000000000000,0xfe0000,0xfe000000,0xfe,0xfe00,0xfe00000000,0xfe0000000000
srun_options+=(--cpu-bind="mask_cpu:$cores")
# All devices of a node to all of its ranks: RCCL then knows the neighbours on the node and uses the links between them.
# With --gpus-per-task each rank would see only its own.
srun_options+=(--gpus-per-node=8)
