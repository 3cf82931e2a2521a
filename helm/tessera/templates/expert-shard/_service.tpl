{{/* (dict "root" $ "component" "expert" "name" "..."). */}}
{{- define "tessera.shardService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "tessera.metadata" . | nindent 2 }}
    tessera/scrape: admin
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "tessera.selector" . | nindent 4 }}
  ports:
    - {name: grpc, port: 8020, targetPort: grpc, protocol: TCP}
    {{- if eq .root.Values.transport.kind "ucx" }}
    - {name: data, port: 8021, targetPort: data, protocol: TCP}
    {{- end }}
    - {name: admin, port: 8022, targetPort: admin, protocol: TCP}
{{- end -}}
