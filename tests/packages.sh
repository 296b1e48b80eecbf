#!/usr/bin/env bash
# Installs the packages of tests/packages.txt that are missing. RUNLEVEL=1 keeps Debian from starting their services.
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
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
