{{/* What the pods that serve and the jobs that compile have in common. */}}

{{- define "sge-serve.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001 # reads secrets, writes volumes
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sge-serve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sge-serve.env" -}}
{{- $values := .Values -}}
{{- $env := dict "SGE_DEVICE" (ternary "cuda" "cpu" $values.gpu.enabled) "SGE_PORT" 8000 "SGE_DRAIN_DELAY_S" $values.drain.delaySeconds -}}
{{- if eq $values.cache.kind "emptyDir" -}}
{{- $_ := set $env "SGE_CACHE_LIMIT_MB" (mul $values.cache.emptyDir.sizeGi 536 | int) -}}
{{- end -}}
{{- if $values.grpc.enabled }}{{ $_ := set $env "SGE_GRPC_PORT" $values.grpc.port }}{{ end -}}
{{- if $values.apiKeys.existingSecret -}}
{{- $_ := set $env "SGE_API_KEYS_FILE" (printf "/etc/sge-serve/keys/%s" $values.apiKeys.key) -}}
{{- end -}}
{{- if $values.adminKeys.existingSecret -}}
{{- $_ := set $env "SGE_ADMIN_KEY_FILE" (printf "/etc/sge-serve/admin/%s" $values.adminKeys.key) -}}
{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- $_ := set $env "SGE_TLS_CERT_FILE" "/etc/sge-serve/tls/tls.crt" -}}
{{- $_ := set $env "SGE_TLS_KEY_FILE" "/etc/sge-serve/tls/tls.key" -}}
{{- end -}}
{{- range $name, $value := merge (deepCopy $values.settings) $env }}
- name: {{ $name }}
  value: {{ include "sge-serve.text" $value | quote }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The store's place in a container; nothing where the image's own is served. */}}
{{- define "sge-serve.storeMount" -}}
{{- $store := .Values.store -}}
{{- if ne $store.kind "shipped" }}
- name: store
  mountPath: /srv/model_store
  readOnly: true
{{- with (get $store $store.kind).subPath }}
  subPath: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sge-serve.storeVolume" -}}
{{- $store := .Values.store -}}
{{- if eq $store.kind "persistentVolumeClaim" }}
- name: store
  persistentVolumeClaim:
    claimName: {{ required "store.persistentVolumeClaim.claimName: name the claim that holds the models" $store.persistentVolumeClaim.claimName }}
    readOnly: true
{{- else if eq $store.kind "image" }}
- name: store
  image:
    reference: {{ required "store.image.reference: name the image that holds the models" $store.image.reference }}
    pullPolicy: {{ $store.image.pullPolicy }}
{{- else if eq $store.kind "initContainer" }}
- name: store
  emptyDir: {sizeLimit: {{ $store.initContainer.sizeLimit }}}
{{- end }}
{{- end }}

{{/* The container of yours that brings the models. */}}
{{- define "sge-serve.storeContainer" -}}
{{- if eq .Values.store.kind "initContainer" }}
{{- $bring := .Values.store.initContainer }}
- name: store
  image: {{ required "store.initContainer.image: name the image that brings the models" $bring.image }}
  {{- range $field, $value := pick $bring "command" "args" "env" "envFrom" }}
  {{- with $value }}
  {{ $field }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  resources:
    limits: {cpu: 1, memory: 1Gi}
    requests: {cpu: 1, memory: 1Gi}
  securityContext:
    {{- include "sge-serve.containerSecurity" $ | nindent 4 }}
  volumeMounts:
    - {name: store, mountPath: /store}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end }}

{{- define "sge-serve.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if .Values.gpu.enabled -}}
{{- $_ := set $resources.limits "nvidia.com/gpu" 1 -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{- define "sge-serve.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .Values.tolerations (ternary .Values.gpu.tolerations list .Values.gpu.enabled) }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .Values.gpu.enabled .Values.gpu.runtimeClassName }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- end }}
