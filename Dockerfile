# A static binary and nothing else: no shell, no package manager, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=development
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /slotferry ./cmd/slotferry \
 && mkdir -p /work

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /slotferry /slotferry
# Checkpoints go to .slotferry below the working folder: mount a volume there.
COPY --from=build --chown=65532:65532 /work /work
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["/slotferry"]
CMD ["--help"]
