#!/usr/bin/env bash
#
# fetch-servers.sh - several versions of Redis, Valkey and Redict side by side,
# taken from Debian's packages, without installing or upgrading anything: for the
# version matrix (make matrix), and for tests that try other servers than the
# system's when SLOTFERRY_SERVERS names DEST.
#
#   fetch-servers.sh [--refresh] DEST [NAME | NAME=PRODUCT:SUITE[,SUITE...]]...
#   fetch-servers.sh --list
#
# For each NAME (see --list; all of them when none is given) this makes
#
#   DEST/NAME/bin/   redis-server, redis-cli, redis-benchmark, ... to run as usual
#   DEST/NAME/lib/   the shared libraries those need, their own libc among them
#   DEST/NAME/INFO   the exact version and the .deb files it came from
#
# For Valkey and Redict, bin/ has the valkey-* (redict-*) programs and links
# named redis-server, redis-cli and redis-benchmark to them.
#
# How: a private apt (its own lists, cache, sources and empty package database,
# all below DEST/.cache) resolves and downloads the packages from other suites
# of the mirror that this machine's own apt sources name; apt checks their
# signatures as ever.  They are unpacked with dpkg -x, and patchelf points each
# program at its own dynamic loader and libraries.  The result is an ordinary
# program: its process title, forks (BGSAVE, BGREWRITEAOF) and DEBUG RESTART
# work.  The loader's path is absolute, so after moving DEST run this again.
#
# What is there already is left alone; what is in DEST/.cache is not downloaded
# again, so a later run needs no network.  --refresh looks for newer packages.
#
# NAME=PRODUCT:SUITES takes PRODUCT (redis, valkey or redict) from any suites,
# for example  redis-next=redis:sid,experimental
#
# Environment: FETCH_SERVERS_CACHE (instead of DEST/.cache), and
# FETCH_SERVERS_MIRROR, FETCH_SERVERS_SECURITY_MIRROR (instead of the addresses
# found in this machine's apt sources).

set -euo pipefail

# Name, product, and the suites to look in.  The product itself comes in its
# highest version in any of them; its libraries by apt's usual priorities
# (so not from backports or experimental unless only those have them).
known_servers() {
    cat <<'EOF'
redis-6.0   redis   bullseye bullseye-security
redis-7.0   redis   bookworm bookworm-security
redict-7.3  redict  bookworm bookworm-security bookworm-backports
redis-8.0   redis   trixie trixie-security
redis-8.6   redis   sid experimental
valkey-8.0  valkey  bookworm bookworm-security bookworm-backports
valkey-8.1  valkey  trixie trixie-security
valkey-9.1  valkey  forky
EOF
}

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'fetch-servers: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
usage() { sed -n '3,/^set -/{/^#/!q; s/^# \{0,1\}//; p}' "$0"; }

# ---------------------------------------------------------------- the mirror

# Sets MIRROR and SECURITY_MIRROR from what this machine's own apt would fetch.
find_mirrors() {
    MIRROR=${FETCH_SERVERS_MIRROR-}
    SECURITY_MIRROR=${FETCH_SERVERS_SECURITY_MIRROR-}
    local codename uris suite
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    # One line per file: 'BASE/dists/SUITE/main/binary-ARCH/Packages.xz' ...
    uris=$(apt-get update --print-uris -o Dir::State::Lists="$CACHE/lists") ||
        die "apt-get could not read this machine's package sources"
    for suite in ${codename:+"$codename"} stable oldstable testing sid unstable; do
        [[ $MIRROR ]] || MIRROR=$(base_of "$suite" <<<"$uris")
        [[ $SECURITY_MIRROR ]] || SECURITY_MIRROR=$(base_of "$suite-security" <<<"$uris")
    done
    [[ $MIRROR ]] || die "no Debian archive among this machine's apt sources;" \
        "set FETCH_SERVERS_MIRROR"
}

# base_of SUITE < uris: the BASE of the first line for SUITE's component main.
base_of() { sed -n "\|^'.*/dists/$1/main/binary-|{s|^'\(.*\)/dists/.*|\1|p;q}"; }

# --------------------------------------------------------------- private apt

# use_suites SUITE...: from here on, private_apt knows just these suites.
use_suites() {
    local suites=("$@") suite base arch state
    arch=$(dpkg --print-architecture)
    state="$CACHE/apt/$(IFS=+; echo "${suites[*]}")"
    APT_CONF=$state/apt.conf
    mkdir -p "$state/cache/archives/partial"
    : >"$state/status"      # nothing is installed, as far as this apt knows

    for suite in "${suites[@]}"; do
        base=$MIRROR
        if [[ $suite == *-security ]]; then
            base=$SECURITY_MIRROR
            [[ $base ]] || { say "no security mirror in apt's sources: going without $suite"; continue; }
        fi
        echo "deb [arch=$arch targets=Packages signed-by=$KEYRING] $base $suite main"
    done >"$state/sources.list"

    # The servers themselves: the highest version, whichever suite has it.
    cat >"$state/preferences" <<'EOF'
Package: redis-* valkey-* redict-*
Pin: version *
Pin-Priority: 600
EOF
    # Read after the machine's own settings (proxy, credentials), which stay.
    # Valid-Until is not checked, since a suite past its support is welcome here.
    cat >"$APT_CONF" <<EOF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
Dir::State::Lists "$CACHE/lists/";
Dir::State::status "$state/status";
Dir::Cache "$state/cache/";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "$state/preferences";
Dir::Etc::PreferencesParts "/dev/null";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::Check-Valid-Until "false";
EOF
    local updated="$CACHE/updated.$$/${suites[*]}"
    [[ ! -e $updated ]] || return 0
    say "reading the package lists of ${suites[*]} from ${MIRROR##*@}"
    private_apt apt-get -qq update ||
        die "could not read the package lists of ${suites[*]} from ${MIRROR##*@}" \
            "(a suite no longer there, or no network?)"
    mkdir -p "${updated%/*}" && touch "$updated"
}

# private_apt COMMAND ARGUMENT...: apt-get or apt-cache on the private state.
private_apt() { "$1" -c "$APT_CONF" "${@:2}"; }

# about PACKAGE: what the package lists say of the version that would be taken.
about() { private_apt apt-cache show --no-all-versions "$1" 2>/dev/null || :; }

# provider PACKAGE: a package that says it provides PACKAGE, which is but a name.
provider() {
    private_apt apt-cache showpkg "$1" |
        awk 'found && !done { print $1; done = 1 } /^Reverse Provides:/ { found = 1 }'
}

# with_libraries PACKAGE...: those packages and, through all their dependencies,
# the library packages they need; one name a line.  Packages of other kinds
# (adduser, systemd, ...) serve installing, not running, and are left out.
with_libraries() {
    local -A seen=()
    local queue=("$@") package description dependency
    while ((${#queue[@]})); do
        package=${queue[0]} queue=("${queue[@]:1}")
        [[ ! ${seen[$package]-} ]] || continue
        seen[$package]=1
        description=$(about "$package")
        if [[ ! $description ]]; then
            queue+=("$(provider "$package")")
            continue
        fi
        echo "$package"
        # "libc6 (>= 2.38), libx | liby, ..." -> libc6 libx
        while read -r dependency; do
            [[ $dependency != @(lib|lua-|zlib)* ]] || queue+=("$dependency")
        done < <(sed -n 's/^\(Pre-\)\{0,1\}Depends: //p' <<<"$description" |
            tr ',' '\n' | sed 's/^ *//; s/[ :|(].*//')
    done
}

# download MANIFEST PACKAGE...: puts the packages into $CACHE/debs, and their
# names and checksums into MANIFEST, as sha256sum -c reads it.
download() {
    local manifest=$1; shift
    local uris
    uris=$(private_apt apt-get download --print-uris "$@") ||
        die "apt-get found no way to download: $*"
    # 'URI' FILE SIZE SHA256:HASH -> HASH  FILE
    sed -n "s/^'[^']*' \([^ ]*\) [0-9]* SHA256:\([0-9a-f]*\)\$/\2  \1/p" <<<"$uris" >"$manifest.new"
    (($(wc -l <"$manifest.new") == $#)) || die "unexpected answer from apt-get: $uris"
    if ! have_debs "$manifest.new"; then
        (cd "$CACHE/debs" && private_apt apt-get -qq download "$@") ||
            die "download failed: $*"
        have_debs "$manifest.new" || die "wrong or missing files in $CACHE/debs: $*"
    fi
    mv "$manifest.new" "$manifest"
}

# have_debs MANIFEST: whether everything in MANIFEST is in the cache, and whole.
have_debs() { [[ -s $1 ]] && (cd "$CACHE/debs" && sha256sum --status -c "$1" 2>/dev/null); }

# unpack MANIFEST FOLDER
unpack() {
    local deb
    mkdir -p "$2"
    while read -r _ deb; do
        dpkg -x "$CACHE/debs/$deb" "$2"
    done <"$1"
}

# ------------------------------------------------------------------ patchelf

# Sets PATCHELF: this machine's, or one unpacked below $CACHE from the suite
# that this machine runs.
find_patchelf() {
    PATCHELF=$(command -v patchelf) && return
    PATCHELF=$CACHE/patchelf/usr/bin/patchelf
    [[ -x $PATCHELF ]] && "$PATCHELF" --version >/dev/null && return
    local manifest=$CACHE/manifests/patchelf codename
    if ! have_debs "$manifest"; then
        [[ ${MIRROR-} ]] || find_mirrors
        # shellcheck disable=SC1091
        codename=$(. /etc/os-release && echo "${VERSION_CODENAME-stable}")
        use_suites "$codename"
        download "$manifest" patchelf
    fi
    unpack "$manifest" "$CACHE/patchelf"
    "$PATCHELF" --version >/dev/null || die "patchelf does not run here: $PATCHELF"
}

# ------------------------------------------------------------------- servers

# fetch NAME PRODUCT SUITE...: makes $DEST/NAME.
fetch() {
    local name=$1 product=$2; shift 2
    local suites=("$@") home=$DEST/$name manifest
    manifest=$CACHE/manifests/$name=$product:$(IFS=,; echo "$*")

    # .ready says where, from which packages and by which script this was made.
    if [[ ! $REFRESH ]] && have_debs "$manifest" &&
        cmp -s "$home/.ready" <(ready_mark "$home" "$manifest") && runs "$home"; then
        say "$name: already there ($(sed -n 's/^version: //p' "$home/INFO"))"
        return
    fi

    if [[ $REFRESH ]] || ! have_debs "$manifest"; then
        [[ ${MIRROR-} ]] || find_mirrors
        use_suites "${suites[@]}"
        local version packages
        version=$(about "$product-tools" | sed -n 's/^Version: //p')
        [[ $version ]] || die "$name: no package $product-tools in ${suites[*]}"
        # A known name says which version it stands for.
        if known_servers | grep -q "^$name " && [[ ${version#*:} != "${name#*-}".* ]]; then
            die "$name: ${suites[*]} now has $product $version; take that as" \
                "$product-NEW=$product:$(IFS=,; echo "${suites[*]}")"
        fi
        mapfile -t packages < <(with_libraries "$product-server" "$product-tools")
        say "$name: downloading $product $version and $((${#packages[@]} - 2)) library packages"
        download "$manifest" "${packages[@]}"
    fi

    find_patchelf
    assemble "$name" "$product" "$manifest"
    say "$name: ready ($(sed -n 's/^version: //p' "$home/INFO"))"
}

# assemble NAME PRODUCT MANIFEST: $DEST/NAME from the cached packages.
assemble() {
    local name=$1 product=$2 manifest=$3
    local home=$DEST/$name new=$DEST/.$name.new loader program
    rm -rf "$new"
    mkdir -p "$new/bin" "$new/lib"
    unpack "$manifest" "$new/root"
    cp -a "$new/root/usr/bin/$product"-* "$new/bin/"
    # Debian's library folders, x86_64-linux-gnu and the like, without subfolders.
    find "$new/root" -regex '.*/lib/[^/]*-linux-gnu[^/]*/[^/]*\.so[^/]*' -exec cp -a -t "$new/lib" {} +
    find "$new/lib" -xtype l -delete

    loader=$(cd "$new/lib" && echo ld-linux*.so.*)
    [[ -f $new/lib/$loader ]] || die "$name: no dynamic loader in its libc6 package"
    for program in "$new/bin"/*; do
        # Some names are links to one program that goes by its name.
        [[ ! -L $program ]] || continue
        # DT_RPATH, unlike DT_RUNPATH, holds for the libraries' own libraries too.
        # shellcheck disable=SC2016
        "$PATCHELF" --set-interpreter "$home/lib/$loader" \
            --force-rpath --set-rpath '$ORIGIN/../lib' "$program"
    done
    for program in server cli benchmark; do
        [[ -e $new/bin/redis-$program ]] || ln -s "$product-$program" "$new/bin/redis-$program"
    done
    wrap_for_lua "$new" "$home"
    {
        echo "name: $name"
        echo "version: $product $(sed -n "s/.*  $product-tools_\([^_]*\)_.*/\1/p" "$manifest" | sed 's/%3a/:/')"
        echo "suites: ${manifest##*:}"
        sed 's/^/deb: /' "$manifest"
    } >"$new/INFO"
    rm -rf "$new/root" "$home"
    mv "$new" "$home"

    local listing
    for program in "$home/bin/$product-check-rdb" "$home/bin/$product-cli"; do
        listing=$(env -u LD_LIBRARY_PATH "$home/lib/$loader" --list "$program") ||
            die "$name: cannot load $program: $listing"
        if grep '=>' <<<"$listing" | grep -vF "=> $home/" >&2; then
            die "$name: $program takes the above libraries from elsewhere"
        fi
    done
    runs "$home" || die "$name: $home/bin/redis-server does not run"
    ready_mark "$home" "$manifest" >"$home/.ready"
}

# wrap_for_lua NEW HOME: Redis 6.0 loads Lua's cjson, by default from where the
# package would be installed, so a wrapper names the place it has here.
wrap_for_lua() {
    local modules module
    modules=$(find "$1/root/usr/lib" -path '*/lua/5.1/*.so')
    [[ $modules ]] || return 0
    mkdir -p "$1/libexec" "$1/lib/lua/5.1"
    while read -r module; do cp -L "$module" "$1/lib/lua/5.1/"; done <<<"$modules"
    ln -s "../bin/$(readlink "$1/bin/redis-server")" "$1/libexec/redis-server"
    rm "$1/bin/redis-server"
    cat >"$1/bin/redis-server" <<EOF
#!/bin/bash
# Same process, same name in ps; DEBUG RESTART comes through here again.
export LUA_CPATH='$2/lib/lua/5.1/?.so;;'
exec -a "\$0" "$2/libexec/redis-server" "\$@"
EOF
    chmod +x "$1/bin/redis-server"
}

ready_mark() { echo "$1"; sha256sum <"${BASH_SOURCE[0]}"; cat "$2"; }
runs() { "$1/bin/redis-server" --version >/dev/null && "$1/bin/redis-cli" --version >/dev/null; }

# ---------------------------------------------------------------------- main

REFRESH=
while [[ ${1-} == -* ]]; do
    case $1 in
        --list) known_servers; exit ;;
        --refresh) REFRESH=1; shift ;;
        -h | --help) usage; exit ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done
(($#)) || { usage >&2; exit 2; }

for tool in apt-get apt-cache dpkg flock sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is needed (this works on Debian and its like)"
done
[[ -r $KEYRING ]] || die "$KEYRING is needed (package debian-archive-keyring)"

mkdir -p "$1"
DEST=$(cd "$1" && pwd -P); shift
[[ $DEST != *[\"\;\ ]* ]] || die "no spaces, quotes or semicolons in DEST, please: $DEST"
mkdir -p "${FETCH_SERVERS_CACHE:=$DEST/.cache}"
CACHE=$(cd "$FETCH_SERVERS_CACHE" && pwd -P)
mkdir -p "$CACHE/lists/partial" "$CACHE/debs" "$CACHE/manifests"
exec 9>"$CACHE/lock"
flock 9                      # one run at a time in this cache
# apt's parsed lists are large, and quickly made again from the lists.
trap 'rm -rf "$CACHE/updated.$$" "$CACHE"/apt/*/cache/*.bin' EXIT

if (($# == 0)); then
    mapfile -t names < <(known_servers | cut -d' ' -f1)
    set -- "${names[@]}"
fi

# All names are looked at before anything is fetched.
specs=()
for wanted; do
    if [[ $wanted =~ ^([A-Za-z0-9][A-Za-z0-9._-]*)=(redis|valkey|redict):([a-z0-9,-]+)$ ]]; then
        specs+=("${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]//,/ }")
    else
        spec=$(known_servers | awk -v name="$wanted" '$1 == name')
        [[ $spec ]] || die "unknown server '$wanted' (see --list)"
        specs+=("$spec")
    fi
done
for spec in "${specs[@]}"; do
    read -ra words <<<"$spec"
    fetch "${words[@]}"
done
