#!/usr/bin/env bash
# launch.py with CANN's variables and the driver's libraries; an image that has set them already loses nothing.
set -e
for script in /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh; do
  if [ -f "$script" ]; then
    source "$script"
    break
  fi
done
export LD_LIBRARY_PATH="/usr/local/Ascend/driver/lib64/driver:/usr/local/Ascend/driver/lib64/common:${LD_LIBRARY_PATH:-}"
exec python3 /opt/deit/launch.py "$@"
