#!/usr/bin/env bash
# Replace all memcached pods, one after another: the next one when all copies are there again.
# Usage: roll.sh [APP]      APP is what `flask --app` takes, "shop" if not given
set -eu
app="${1:-shop}"
ready() { kubectl exec deploy/web -- flask --app "$app" msm check --all-up --timeout 600; }

ready
for pod in $(kubectl get pods --selector app=mc --output name); do
    kubectl delete "$pod" --wait
    kubectl wait --for=condition=Ready "$pod" --timeout=300s
    ready
done
