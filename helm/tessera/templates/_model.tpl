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
    type: {{ ternary "Directory" "DirectoryOrCreate" (empty $.Values.model.fetch.command) }}
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

{{- define "tessera.checkpointContainer" -}}
{{- if .Values.model.sha256sums }}
- name: checkpoint
  image: {{ default (include "tessera.image" .) .Values.model.fetch.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: ["/bin/sh", "/etc/tessera/checkpoint/checkpoint.sh"]
  args:
    - {{ include "tessera.modelFolder" . }}
    - /etc/tessera/checkpoint/SHA256SUMS
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
