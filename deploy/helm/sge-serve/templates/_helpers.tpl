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

{{/* By these the policy finds the pods of jobs; no Service takes them for some that serve. */}}
{{- define "sge-serve.compileSelector" -}}
app.kubernetes.io/name: sge-serve-compile
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
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion (ternary "cuda" "cpu" .Values.gpu.enabled)) }}
{{- end -}}
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
