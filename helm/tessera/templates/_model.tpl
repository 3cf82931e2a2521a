{{/* Where the checkpoint is, and how it gets there. */}}

{{- define "tessera.modelRoot" -}}
{{ ternary "/usr/share/tessera/models" "/models" (eq .Values.model.storage.type "image") }}
{{- end -}}
{{- define "tessera.modelFolder" -}}{{ include "tessera.modelRoot" . }}/{{ .Values.model.folder }}{{- end -}}

{{- define "tessera.modelVolume" -}}
{{- with .Values.model.storage -}}
{{- if ne .type "image" }}
- name: models
  {{- if eq .type "pvc" }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-models" (include "tessera.fullname" $)) .pvc.existingClaim }}
    {{- if and (empty $.Values.model.fetch.command) .pvc.existingClaim }}
    readOnly: true
    {{- end }}
  {{- else if eq .type "hostPath" }}
  hostPath:
    path: {{ .hostPath.path }}
    # What the kubelet made would be root's, and neither fsGroup nor an init container of user 65532 could change that.
    type: Directory
  {{- else if eq .type "emptyDir" }}
  emptyDir:
    {{- with .emptyDir.sizeLimit }}
    sizeLimit: {{ . }}
    {{- else }} {}
    {{- end }}
  {{- else }}
  {{- toYaml .volume | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
{{- if .Values.model.sha256sums }}
- name: checkpoint
  configMap:
    name: {{ include "tessera.fullname" . }}-checkpoint
{{- end }}
{{- end -}}

{{- define "tessera.modelMount" -}}
{{- if ne .Values.model.storage.type "image" }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- end -}}

{{/* The lines of sha256sums that are not weights; all of them if that leaves none. */}}
{{- define "tessera.textSums" -}}
{{- $lines := list -}}
{{- range splitList "\n" (trim .Values.model.sha256sums) -}}
{{- if not (regexMatch "\\.safetensors(\\.index\\.json)?\\s*$" .) -}}{{- $lines = append $lines . -}}{{- end -}}
{{- end -}}
{{- join "\n" $lines | trim | default (trim .Values.model.sha256sums) -}}
{{- end -}}

{{/* Which of the lists a component's pods hold their folder to: a gateway needs no weights, and has a folder of its own only
where every pod has: (dict "root" $ "component" "gateway"). */}}
{{- define "tessera.sumsFile" -}}
{{- $own := eq .root.Values.model.storage.type "emptyDir" -}}
{{ ternary "SHA256SUMS.gateway" "SHA256SUMS" (and $own (eq .component "gateway")) }}
{{- end -}}

{{/* (dict "root" $ "component" "gateway") */}}
{{- define "tessera.checkpointContainer" -}}
{{- $component := .component -}}
{{- with .root -}}
{{- if .Values.model.sha256sums }}
- name: checkpoint
  image: {{ default (include "tessera.image" .) .Values.model.fetch.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: ["/bin/sh", "/etc/tessera/checkpoint/checkpoint.sh"]
  args:
    - {{ include "tessera.modelFolder" . }}
    - /etc/tessera/checkpoint/{{ include "tessera.sumsFile" (dict "root" . "component" $component) }}
    {{- range .Values.model.fetch.command }}
    - {{ . | quote }}
    {{- end }}
  {{- with .Values.model.fetch.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.model.fetch.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "tessera.containerSecurity" (dict "root" . "rdma" false) | nindent 4 }}
  {{- with .Values.model.fetch.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    {{- if ne .Values.model.storage.type "image" }}
    - name: models
      mountPath: /models
    {{- end }}
    - name: checkpoint
      mountPath: /etc/tessera/checkpoint
      readOnly: true
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end -}}
{{- end -}}
