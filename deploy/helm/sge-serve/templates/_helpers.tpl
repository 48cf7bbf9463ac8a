{{/* The name of everything that a release makes. */}}
{{- define "sge-serve.name" -}}
{{- $release := .Release.Name -}}
{{- ternary $release (printf "%s-sge-serve" $release) (contains "sge-serve" $release) | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* By these a Service and the others find the pods; they never change. */}}
{{- define "sge-serve.selector" -}}
app.kubernetes.io/name: sge-serve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sge-serve.labels" -}}
{{ include "sge-serve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "sge-serve.serviceAccount" -}}
{{- $account := .Values.serviceAccount -}}
{{- ternary (include "sge-serve.name" .) (default "default" $account.name) $account.create -}}
{{- end }}

{{- define "sge-serve.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (ternary "cuda" "cpu" .Values.gpu.enabled) }}
{{- end }}

{{/* A value as a variable's text: Helm reads numbers of files as floats, and would write 1e+06. */}}
{{- define "sge-serve.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{/* Seconds from the moment at which a pod shall end to that at which it is killed. */}}
{{- define "sge-serve.grace" -}}
{{- $drain := dig "SGE_DRAIN_TIMEOUT_S" 30 .Values.settings | int -}}
{{- $least := add .Values.drain.preStopSeconds (ceil .Values.drain.delaySeconds) $drain 5 | int -}}
{{- $grace := .Values.terminationGracePeriodSeconds | default $least | int -}}
{{- if lt $grace $least -}}
{{- fail (printf "terminationGracePeriodSeconds: %d would cut requests that were accepted; drain.preStopSeconds, drain.delaySeconds, SGE_DRAIN_TIMEOUT_S and 5 are %d" $grace $least) -}}
{{- end -}}
{{- $grace -}}
{{- end }}

{{/* What the schema cannot say of two values together. */}}
{{- define "sge-serve.check" -}}
{{- $store := .Values.store -}}
{{- if and (eq $store.kind "image") (semverCompare "<1.31.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "store.kind: image needs Kubernetes 1.31 or newer, this is %s" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- $scraped := or .Values.monitoring.serviceMonitor.enabled (eq .Values.autoscaling.kind "keda") -}}
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
{{- if and .Values.grpc.enabled (eq (int .Values.grpc.port) 8000) -}}
{{- fail "grpc.port: 8000 is HTTP's" -}}
{{- end -}}
{{- end }}
