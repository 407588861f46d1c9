#!/bin/sh
# A new model, on trial; and in use, if the comparison with the one in use finds nothing against it.
# retrain.sh [refresh|full]
set -eu
config=${DETECTOR_CONFIG:-/etc/detector/detector.toml}
models=${DETECTOR_MODELS:-/var/lib/detector/models}
key=${DETECTOR_SIGN_WITH:-}
export DETECTOR__MODELS__REGISTRY="$models"

report=$(mktemp)
trap 'rm -f "$report"' EXIT
case ${1:-refresh} in
    refresh) detector train --config "$config" --refresh --from-daily topic --out "$models" ${key:+--sign-with "$key"} > "$report" ;;
    full) detector train --config "$config" --from-topic --out "$models" ${key:+--sign-with "$key"} > "$report" ;;
    *) echo "usage: retrain.sh [refresh|full]" >&2; exit 2 ;;
esac
cat "$report"
version=$(sed -n 's/^model \([0-9a-f]\{12\}\) in .*/\1/p' "$report")

detector models promote "$version" --config "$config" --as challenger --by retrain.sh --why "${1:-refresh}"
detector models compare champion challenger --config "$config" --from-topic --gate
detector models promote challenger --config "$config" --by retrain.sh --why "${1:-refresh}: the gate was open"
