{{/* What the schema cannot say: values that do not go together, and what the API server would refuse. */}}
{{- define "sge-serve.check" -}}
{{- include "sge-serve.checkNames" . -}}
{{- include "sge-serve.checkStore" . -}}
{{- include "sge-serve.checkResources" . -}}
{{- include "sge-serve.checkReplicas" . -}}
{{- include "sge-serve.checkScrapes" . -}}
{{- if and .Values.grpc.enabled (eq (int .Values.grpc.port) 8000) -}}
{{- fail "grpc.port: 8000 is HTTP's" -}}
{{- end -}}
{{- if and .Values.grpc.enabled (eq (int .Values.grpc.port) (int .Values.service.port)) -}}
{{- fail (printf "grpc.port: %d is service.port, too" (int .Values.grpc.port)) -}}
{{- end -}}
{{- end }}

{{- define "sge-serve.checkNames" -}}
{{- $name := include "sge-serve.name" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release's name: no Service can be called %s; begin with a letter, and use a-z, 0-9 and -" $name) -}}
{{- end -}}
{{- $own := include "sge-serve.labels" . | fromYaml -}}
{{- $monitoring := .Values.monitoring -}}
{{- $given := dict "podLabels" .Values.podLabels "monitoring.serviceMonitor.labels" $monitoring.serviceMonitor.labels "monitoring.rules.labels" $monitoring.rules.labels -}}
{{- range $path, $labels := $given -}}
{{- range $label, $_ := $labels -}}
{{- if hasKey $own $label -}}
{{- fail (printf "%s: %s is the chart's own" $path $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sge-serve.checkStore" -}}
{{- $store := .Values.store -}}
{{- $version := .Capabilities.KubeVersion.Version -}}
{{- if eq $store.kind "image" -}}
{{- $path := ternary "store.image.subPath" "store.kind: image" (ne $store.image.subPath "") -}}
{{- $least := ternary "1.33" "1.31" (ne $store.image.subPath "") -}}
{{- if semverCompare (printf "<%s.0-0" $least) $version -}}
{{- fail (printf "%s needs Kubernetes %s or newer, this is %s" $path $least $version) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $store.kind "initContainer") .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.egress: the container that brings the models would reach nobody; name whom it needs, and DNS" -}}
{{- end -}}
{{- end }}

{{- define "sge-serve.checkResources" -}}
{{- $limits := .Values.resources.limits -}}
{{- range $name, $request := .Values.resources.requests -}}
{{- $limit := get $limits $name -}}
{{- if $limit -}}
{{- if gt (include "sge-serve.quantity" $request | float64) (include "sge-serve.quantity" $limit | float64) -}}
{{- fail (printf "resources.limits.%s: %v is less than is requested, %v" $name $limit $request) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A quantity of Kubernetes as a number: 1.5 of 1500m. */}}
{{- define "sge-serve.quantity" -}}
{{- $text := include "sge-serve.text" . -}}
{{- $factors := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $factors (regexFind "[a-zA-Z]*$" $text)) -}}
{{- end }}

{{- define "sge-serve.checkReplicas" -}}
{{- $update := .Values.rollingUpdate -}}
{{- $none := list "0" "0%" -}}
{{- if and (has (toString $update.maxSurge) $none) (has (toString $update.maxUnavailable) $none) -}}
{{- fail "rollingUpdate: maxSurge and maxUnavailable are both 0; no pod could ever be replaced" -}}
{{- end -}}
{{- $scaling := .Values.autoscaling -}}
{{- if ne $scaling.kind "none" -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d" (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $scaling.kind "cpu") (eq .Values.cache.kind "emptyDir") (not .Values.cache.warm) -}}
{{- fail "autoscaling.kind: cpu takes a pod that compiles for a busy one, and adds more that compile; set cache.warm, or share engines by cache.kind: persistentVolumeClaim" -}}
{{- end -}}
{{- end }}

{{/* Whether Prometheus asks the pods. */}}
{{- define "sge-serve.isScraped" -}}
{{- if or .Values.monitoring.serviceMonitor.enabled (eq .Values.autoscaling.kind "keda") }}true{{ end -}}
{{- end }}

{{- define "sge-serve.checkScrapes" -}}
{{- $scraped := include "sge-serve.isScraped" . -}}
{{- if and $scraped (has "metrics" (splitList "," (dig "SGE_CLOSED" "" .Values.settings))) -}}
{{- fail "settings.SGE_CLOSED: metrics are closed, and monitoring.serviceMonitor or autoscaling.keda reads them" -}}
{{- end -}}
{{- if and $scraped (dig "SGE_ALLOWED_HOSTS" "" .Values.settings) -}}
{{- fail "settings.SGE_ALLOWED_HOSTS: Prometheus asks pods by their addresses, which are no names; leave it to your ingress" -}}
{{- end -}}
{{- $key := .Values.monitoring.serviceMonitor.authorization.existingSecret -}}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.apiKeys.existingSecret (not $key) -}}
{{- fail "monitoring.serviceMonitor.authorization.existingSecret: with apiKeys Prometheus needs a key, too" -}}
{{- end -}}
{{- end }}
