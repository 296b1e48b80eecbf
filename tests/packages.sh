#!/usr/bin/env bash
# Installs the packages of tests/packages.txt that are missing, without starting their services.
set -euo pipefail
cd "$(dirname "$0")"

mapfile -t wanted < <(sed 's/#.*//' packages.txt | awk 'NF {print $1}')
missing=()
for package in "${wanted[@]}"; do
  dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep --quiet 'install ok installed' || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID)); then
  echo "Missing Debian packages: ${missing[*]}. Run as root: make packages" >&2
  exit 1
fi
echo "Installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d
# Debian starts a server as soon as it is installed. The tests start their own, on ports and data of their own.
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt_get() { apt-get -o DPkg::Lock::Timeout=600 --quiet --quiet "$@"; }
apt_get update
apt_get install --yes --no-install-recommends "${missing[@]}"
