{{/* What pods of all services have in common. All take
(dict "root" $ "component" "router" "values" .Values.router "name" "x-router" "config" "x-router" "program" "tessera-router"
      "args" (list ...) "ports" (dict "grpc" 8010 ...) "rdma" bool "gpu" 0 "grace" 45 "startup" 600 "preStop" 0
      "secrets" (list (dict "name" ... "secret" ... "key" ... "folder" ...))). */}}

{{- define "tessera.podMetadata" -}}
labels:
  {{- include "tessera.selector" . | nindent 2 }}
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ .configText | sha256sum }}
  {{- with .secretText }}
  checksum/secret: {{ . | sha256sum }}
  {{- end }}
  {{- if .rdma }}
  {{- with .root.Values.rdma.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "tessera.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
  {{- if .rdma }}
  add: [IPC_LOCK]
  {{- end }}
{{- end -}}

{{- define "tessera.resources" -}}
{{- $resources := deepCopy .values.resources -}}
{{- $extra := dict -}}
{{- if .rdma -}}{{- $extra = merge $extra .root.Values.rdma.resources -}}{{- end -}}
{{- if .gpu -}}{{- $_ := set $extra .root.Values.gpu.resourceName .gpu -}}{{- end -}}
{{- if $extra -}}
{{- $_ := set $resources "limits" (merge (deepCopy $extra) (default dict $resources.limits)) -}}
{{- $_ := set $resources "requests" (merge (deepCopy $extra) (default dict $resources.requests)) -}}
{{- end -}}
{{- range $kind, $quantities := $resources }}
{{ $kind }}:
  {{- range $resource, $quantity := $quantities }}
  {{ $resource }}: {{ toString $quantity | quote }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "tessera.spread" -}}
{{- with .values.topologySpread -}}
{{- if .enabled }}
topologySpreadConstraints:
  {{- if .constraints }}
  {{- toYaml .constraints | nindent 2 }}
  {{- else }}
  {{- $when := .whenUnsatisfiable }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels:
        {{- include "tessera.selector" $ | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "tessera.container" -}}
- name: {{ .program | trimPrefix "tessera-" }}
  image: {{ include "tessera.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [/usr/bin/{{ .program }}]
  args:
    - --config=/etc/tessera/config/config.json
    {{- range .args }}
    - {{ . | quote }}
    {{- end }}
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    {{- if .indexed }}
    - name: POD_INDEX
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}
    {{- end }}
    {{- with .values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $name, $port := .ports }}
    - name: {{ $name }}
      containerPort: {{ $port }}
      protocol: TCP
    {{- end }}
  # Up to modelLoadTimeoutSeconds to begin with.
  startupProbe:
    httpGet: {path: {{ .startupPath }}, port: admin}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: {{ max 1 (div (add .startup 1) 2) }}
  # Takes it out of its Service, at once when it drains.
  readinessProbe:
    httpGet: {path: /readyz, port: admin}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 1
  # Says nothing about load or drain: only a process that cannot answer at all is started again.
  livenessProbe:
    httpGet: {path: /livez, port: admin}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- with .preStop }}
  # Services and Ingresses forget this pod before it stops taking requests.
  lifecycle:
    preStop:
      exec:
        command: [/bin/sleep, {{ . | quote }}]
  {{- end }}
  resources:
    {{- include "tessera.resources" . | trim | nindent 4 }}
  securityContext:
    {{- include "tessera.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: config
      mountPath: /etc/tessera/config
      readOnly: true
    - name: tmp
      mountPath: /tmp
    {{- range .secrets }}
    - name: {{ .name }}
      mountPath: {{ .folder }}
      readOnly: true
    {{- end }}
    {{- with include "tessera.modelMount" .root | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "tessera.podSpec" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .gpu }}
{{- with .root.Values.gpu.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "tessera.spread" . }}
{{- with include "tessera.checkpointContainer" . | trim }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
containers:
  {{- include "tessera.container" . | nindent 2 }}
volumes:
  - name: config
    configMap:
      name: {{ .config }}
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  {{- range .secrets }}
  - name: {{ .name }}
    secret:
      secretName: {{ .secret }}
      defaultMode: 0440
  {{- end }}
  {{- with include "tessera.modelVolume" .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
