"""The combinations of values that the chart offers."""

from __future__ import annotations

from typing import Any

# What a user may combine, each by itself and all of it together.
COMBINATIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "by digest": {"image": {"digest": f"sha256:{'5e' * 32}"}},
    "gpu": {"gpu": {"enabled": True, "runtimeClassName": "nvidia"}},
    "store on a claim": {
        "store": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {"claimName": "models", "subPath": "garments"},
        }
    },
    "store in an image": {
        "store": {"kind": "image", "image": {"reference": "registry.example/models:4"}}
    },
    "store by a container": {
        "store": {
            "kind": "initContainer",
            "initContainer": {
                "image": "registry.example/fetch:1",
                "args": ["models/garments", "/store"],
                "env": [{"name": "REGION", "value": "north"}],
                "envFrom": [{"secretRef": {"name": "bucket"}}],
            },
        }
    },
    "warm": {"cache": {"warm": True, "emptyDir": {"sizeGi": 8}}},
    "shared cache": {
        "networkPolicy": {"enabled": True},
        "nodeSelector": {"pool": "serving"},
        "cache": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {
                "claimName": "engines",
                "warmOn": [{"cpu": "with-amx"}, {"cpu": "without"}],
            },
        },
    },
    "shared cache, filled by somebody else": {
        "cache": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {"claimName": "engines", "warmOn": []},
        }
    },
    "scaled by cpu": {"autoscaling": {"kind": "cpu"}, "cache": {"warm": True}},
    "scaled by requests inside": {
        "autoscaling": {
            "kind": "keda",
            "keda": {"serverAddress": "http://prometheus:9090", "authenticationRef": "prometheus"},
        }
    },
    "network policy": {
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        }
    },
    "monitored": {
        "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}},
        "networkPolicy": {"enabled": True},
    },
    "keys, certificate and gRPC": {
        "apiKeys": {"existingSecret": "api-keys"},
        "adminKeys": {"existingSecret": "admin-keys", "key": "admins"},
        "tls": {"existingSecret": "certificate"},
        "grpc": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "monitoring": {
            "serviceMonitor": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "authorization": {"existingSecret": "prometheus-key"},
            }
        },
    },
    "settings": {
        "settings": {
            "SGE_MAX_BATCH": 32,
            "SGE_DEFAULT_TIMEOUT_MS": 5000000,
            "SGE_DRAIN_TIMEOUT_S": 60,
            "SGE_TIERED": False,
            "SGE_MODELS": "garments,garments/3",
            "SGE_STORE_POLL_S": 2.5,
        },
        "drain": {"delaySeconds": 2.5},
        "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4317"}],
    },
    "placed": {
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"create": False, "name": "serving"},
        "podDisruptionBudget": {"enabled": False},
        "podAnnotations": {"team": "shop"},
        "podLabels": {"team": "shop"},
        "priorityClassName": "high",
        "nodeSelector": {"pool": "serving"},
        "tolerations": [{"key": "serving", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            {
                "maxSkew": 2,
                "topologyKey": "rack",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"team": "shop"}},
            },
        ],
        "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
}
