// gRPC's standard health service as generated code.

export {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
  type HealthServer,
  HealthService,
} from './generated/grpc/health/v1/health.ts';
