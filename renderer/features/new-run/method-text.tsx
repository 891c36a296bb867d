import type { MethodInfo } from '#core/contract/method.ts';

/** What a method is called, trains and costs, inside its choice. */
export function MethodText({ method }: { readonly method: MethodInfo }) {
  return (
    <>
      <b>{method.title}</b>
      <small className="method-trains">{method.trains}</small>
      <small>Cost: {method.cost}</small>
    </>
  );
}
