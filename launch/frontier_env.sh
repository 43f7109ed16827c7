# shellcheck shell=bash disable=SC2034 # what slurm_body.sh uses
# Sourced by frontier.sbatch: what Frontier's nodes need, each setting with its reason and source.
#
# Sources: [guide] Frontier User Guide, https://docs.olcf.ornl.gov/systems/frontier_user_guide.html;
#          [pytorch] PyTorch on Frontier, https://docs.olcf.ornl.gov/software/analytics/pytorch_frontier.html.
# Left out on purpose: NCCL_ALGO, NCCL_P2P_LEVEL and the like, which override RCCL's own tuner; ROCR_VISIBLE_DEVICES and
# HIP_VISIBLE_DEVICES, because every rank sees all devices and takes the one with its local index.

# --- software: versions move with the system and with torch; others can be named in the environment ---
# The recommended pair for torch 2.10 + rocm7.1; torch.version.hip says which ROCm the installed torch wants [pytorch].
# rccl-net-plugin comes after rocm: it is the path from RCCL to Slingshot, without which RCCL uses TCP [pytorch].
FRONTIER_MODULES=${FRONTIER_MODULES:-PrgEnv-gnu/8.7.0 cpe/26.03 miniforge3/23.11.0-0 rocm/7.1.1 rccl-net-plugin \
  craype-accel-amd-gfx90a}

load_modules() {
  local module
  for module in $FRONTIER_MODULES; do
    module load "$module" || true # its status is not to be relied on: ask what is loaded
    module -t list 2>&1 | grep -q "^${module%%/*}\(/\|$\)" \
      || fail "module $module is not loaded; see: module avail ${module%%/*}; then: FRONTIER_MODULES='...' sbatch ..."
  done
}

set +u # the modules' own scripts use variables that may be unset
load_modules
set -u
# With a cpe other than the default one, its libraries are in Cray's own path [pytorch].
export LD_LIBRARY_PATH=${CRAY_LD_LIBRARY_PATH:-}:${LD_LIBRARY_PATH:-}

# --- network ---
# The batch script runs on the first node; by this address the others reach rank 0 there [pytorch].
master_address=$(hostname -i)
# Sockets, over which RCCL starts, use the four Slingshot cards. If the start hangs, try hsn0 alone [pytorch].
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}
# gloo, for the host's collectives, takes one interface; by default that of the host name, another network.
export GLOO_SOCKET_IFNAME=hsn0
# Rather fail than train over TCP where the plugin is missing. On one node it does not start, as there is no network for
# it, and is not needed [pytorch].
if [ "$SLURM_JOB_NUM_NODES" = 1 ]; then
  export NCCL_NET=Socket
else
  export NCCL_NET=OFI
fi
# What HPE and AMD recommend "for both correctness and best performance at scale" [pytorch]. The module sets most of it,
# and what it sets stays; the meanings are those of the fi_cxi(7) and RCCL manuals.
default() {
  export "$1=${!1:-$2}"
}
default NCCL_CROSS_NIC 1                    # rings may change cards between nodes
default NCCL_NET_GDR_LEVEL PHB              # cards read GPU memory directly
default HSA_FORCE_FINE_GRAIN_PCIE 1         # what cards and peers see of it is coherent
default FI_MR_CACHE_MONITOR kdreg2          # memhooks, another choice, can deadlock
default FI_CXI_DISABLE_HOST_REGISTER 1      # host memory is not registered with the GPU runtime
default FI_CXI_DEFAULT_CQ_SIZE 131072       # completion queues that many ranks do not overrun
default FI_CXI_DEFAULT_TX_SIZE 2048         # the same for the queues of sends
default FI_CXI_RX_MATCH_MODE hybrid         # matching in hardware, and in software when that is full
default FI_CXI_RDZV_PROTO alt_read          # with --network=disable_rdzv_get in frontier.sbatch:
default FI_CXI_RDZV_THRESHOLD 0             #   a rendezvous that is better for RCCL at scale,
default FI_CXI_RDZV_GET_MIN 0               #   for messages of every size
default FI_CXI_RDZV_EAGER_SIZE 0

# --- files ---
# MIOpen compiles kernels into a database: on Lustre it meets I/O errors, on a node's own disk it does not [pytorch].
# slurm_task.sh makes the folder on every node.
export WEATHER_NODE_CACHE=/tmp/${USER:-$(id -un)}-$SLURM_JOB_ID
export MIOPEN_USER_DB_PATH=$WEATHER_NODE_CACHE
export MIOPEN_CUSTOM_CACHE_DIR=$WEATHER_NODE_CACHE
# For WEATHER_SBCAST: the node's NVMe, which is there with `sbatch -C nvme` and is cleared when the job ends [guide].
export WEATHER_NODE_DISK=${WEATHER_NODE_DISK:-/mnt/bb/${USER:-$(id -un)}}
# HDF5 locks files that it opens, which Lustre may refuse; the archive is only read, and so needs no lock.
export HDF5_USE_FILE_LOCKING=FALSE

# --- cores and devices ---
tasks_per_node=8                      # one rank for each GCD, which is a device of its own with 64 GB [guide]
cpus_per_task=7                       # 64 cores, one of each 8 kept for the system: 56 for 8 ranks [guide]
export OMP_NUM_THREADS=$cpus_per_task # torch would start one thread for each core that it sees
# Rank i takes device i and belongs on the cores of its L3 region. Those are not in the devices' order [guide]:
#   device   0      1      2      3      4    5     6      7
#   cores    49-55  57-63  17-23  25-31  1-7  9-15  33-39  41-47     (48, 56, 16, 24, 0, 8, 32, 40 are the system's)
# Ranks that are not bound can all land on one core: 10 s became 10 min [pytorch]. srun binds the tasks; a single task
# binds the ranks that it starts.
export WEATHER_CPU_MASKS=0xfe000000000000,0xfe00000000000000,0xfe0000,0xfe000000,0xfe,0xfe00,0xfe00000000,0xfe0000000000
# All devices of a node to all of its ranks: RCCL then knows the neighbours on the node and uses the links between them.
# With --gpus-per-task each rank would see only its own.
srun_options+=(--gpus-per-node=8)
