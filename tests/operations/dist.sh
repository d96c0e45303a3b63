#!/usr/bin/env bash
# Writes an archive of the tool with its licence, its bill of materials (CycloneDX 1.5) and its completions, and the
# checksums of what a release publishes.
#
#     tests/operations/dist.sh target/release/rollcall target/dist            (make dist)
#
# rollcall-VERSION-TARGET.tar.gz   the archive
# rollcall-VERSION-TARGET.cdx.json the bill of materials, also in the archive
# SHA256SUMS                       the checksums of both; `sha256sum --check SHA256SUMS` compares
set -euo pipefail
binary=$(realpath "${1:?usage: tests/operations/dist.sh PROGRAM FOLDER}")
cd "$(dirname "$0")/../.."
out=${2:?usage: tests/operations/dist.sh PROGRAM FOLDER}
target=$(rustc -vV | sed -n 's/^host: //p')
version=$("$binary" --version | cut -d ' ' -f 2)
name=rollcall-$version-$target
# The same program makes the same archive: the time of the commit counts, and order and owners are fixed.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

rm -rf "$out"
mkdir -p "$out/$name/completions"
tests/operations/sbom.sh "$out" tool
mv "$out/tool.cdx.json" "$out/$name.cdx.json"
strip -o "$out/$name/rollcall" "$binary"
cp LICENSE docs/tool.md CHANGELOG.md "$out/$name.cdx.json" "$out/$name/"
for shell in bash zsh fish; do
    "$binary" completions "$shell" >"$out/$name/completions/rollcall.$shell"
done
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --directory "$out" "$name" | gzip --no-name >"$out/$name.tar.gz"
rm -r "${out:?}/$name"
(cd "$out" && sha256sum "$name.tar.gz" "$name.cdx.json" >SHA256SUMS)
ls -lh "$out"
