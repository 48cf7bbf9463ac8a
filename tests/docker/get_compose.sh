#!/usr/bin/env bash
# Put docker compose v2 as docker-compose into a folder: get_compose.sh FOLDER
# Debian 12 has only v1; the package of Debian 13 is one program, taken from the machine's own archive.
set -euo pipefail
folder=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{lists,cache/archives}/partial
cd "$scratch"

site=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk '$2 ~ /^[a-z]+$/ {print $1; exit}')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" >sources.list
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root "$@"
}
apt update
apt download docker-compose
dpkg --extract docker-compose_*.deb .
install usr/libexec/docker/cli-plugins/docker-compose "$folder"
"$folder/docker-compose" version
